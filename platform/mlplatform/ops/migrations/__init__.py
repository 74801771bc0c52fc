"""Numbered changes of the platform's own tables that are more than a new column; each in a module of its own."""
