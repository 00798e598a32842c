"""Whether two answers have the same value."""

from __future__ import annotations

from dataclasses import dataclass

from synth.answers.equal import TOLERANCE, canonical, number, same, same_answer
from synth.answers.reading import read
from synth.verifiers.base import Verifier

__all__ = ["MathEqual", "canonical", "number", "same_answer"]


@dataclass(frozen=True, kw_only=True)
class MathEqual(Verifier):
    """Compares two answers by value.

    Args:
        tolerance: relative difference of decimals that still counts as equal, 0 compares exactly;
            whole numbers always compare exactly.

    Example:
        >>> MathEqual().verify("(84 / 2)", "42")
        True
        >>> MathEqual().verify("41", "42")
        False
        >>> MathEqual().verify("blue", "42")
    """

    tolerance: float = TOLERANCE

    def verify(self, answer: str, gold: str) -> bool | None:
        """True or False where both have a value, None (unknown) where either has none, or their
        units do not convert.
        """
        left = read(str(answer))
        right = read(str(gold))
        if left.number is None and right.number is None:
            return None
        return same(left, right, self.tolerance)
