"""Small scripts, one per system or use."""
