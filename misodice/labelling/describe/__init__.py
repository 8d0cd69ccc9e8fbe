"""Episodes in words, for a labeller that reads."""
