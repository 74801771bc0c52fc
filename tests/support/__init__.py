"""Helpers that several test folders share: the golden-case format, and the comparison of answers with it."""
