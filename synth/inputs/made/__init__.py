"""Rows that are made without a teacher: drawn, cut from documents, read from logs of agents."""
