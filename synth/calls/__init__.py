"""The only door to a teacher: look up, reserve, admit, ask, journal."""
