"""Rules that both homes need."""
