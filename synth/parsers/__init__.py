"""Completion.text -> fields, or a reason. One file per parser."""
