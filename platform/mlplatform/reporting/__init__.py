"""The HTML report of a use case: facts from the platform's tables, plots of them, one self-contained page."""
