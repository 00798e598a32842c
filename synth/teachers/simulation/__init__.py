"""A teacher that is simulated, and says so."""
