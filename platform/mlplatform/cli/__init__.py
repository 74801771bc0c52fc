"""The command line: thin, and quick to say what it can do (engines load inside the commands that need them)."""
