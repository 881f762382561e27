"""Target kinds: one file per key of a sample."""
