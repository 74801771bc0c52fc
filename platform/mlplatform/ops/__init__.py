"""The platform's own tables, `<catalog>.ops`: what ran, what was decided, what was measured."""
