"""Code of strangers, run where it can harm nobody."""
