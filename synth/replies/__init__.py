"""What stands in a reply, whatever the parser: thoughts, fences, labels, lists, JSON as models
write it.
"""
