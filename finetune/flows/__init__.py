"""Loops with the student in them: generate, filter, train, look, generate again."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {"player": "FlowConfig Player check check_reach", "rounds": "settled"},
)
