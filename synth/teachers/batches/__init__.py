"""Batches of providers: what all of them need, and one file for each protocol."""
