"""What both homes promise."""
