"""Training, search, evaluation, the champion/challenger gate, and promotion."""
