"""Losses over lists of texts: what a retriever or a ranker learns of a query's candidates; one file
each.
"""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
