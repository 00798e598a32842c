"""A run folder -> a page that a person can read."""
