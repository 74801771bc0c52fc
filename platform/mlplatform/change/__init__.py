"""What exists already, and what is declared anew: adoption and setup."""
