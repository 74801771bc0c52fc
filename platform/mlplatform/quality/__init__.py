"""Data quality: expectations, the quarantine, and where each row came from."""
