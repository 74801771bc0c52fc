"""Whether what is stored is what was computed: checks that prove it from the tables, and repairs of what is damaged."""
