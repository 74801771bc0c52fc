"""From landed files to gold: sources (bronze), silver tables, and the label spine; what a use case declares of them."""
