"""Faults that are planted in the code, one at a time: for each, tests that must notice."""
