"""Modules that stored models name by their old place; nothing new goes here."""
