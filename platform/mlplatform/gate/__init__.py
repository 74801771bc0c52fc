"""A challenger is held against the champion, and promoted or not."""
