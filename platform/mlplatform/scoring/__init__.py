"""Entities that are due become predictions."""
