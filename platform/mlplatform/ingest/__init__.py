"""Landed files become bronze rows."""
