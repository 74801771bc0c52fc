"""Bronze becomes silver, silver becomes gold."""
