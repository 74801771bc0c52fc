"""One idea a file: what a check looks at, and what it finds."""
