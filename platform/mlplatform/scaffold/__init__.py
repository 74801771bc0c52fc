"""Starting a use case: a folder that runs at once, inferred from a CSV file."""
