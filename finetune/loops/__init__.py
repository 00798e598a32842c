"""Loops with the student in them: generate, filter, train, look, generate again."""
