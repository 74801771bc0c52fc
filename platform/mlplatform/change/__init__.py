"""What exists already, and what is declared anew: adoption, setup, and the plan of what an edit does."""
