"""A local page that tries a model."""
