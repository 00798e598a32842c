"""Completion.text -> fields, or a reason. One file per parser."""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
