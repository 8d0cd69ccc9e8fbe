"""A language model as the judge of pairs (paper B.2.2)."""
