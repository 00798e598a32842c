"""A run -> training rows: one file an export format."""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
