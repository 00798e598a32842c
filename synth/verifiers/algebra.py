"""Whether two formulas are equal, where comparing values does not tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from synth.answers.equal import canonical
from synth.answers.expression import MOST_CHARS, MOST_DEPTH
from synth.core.errors import require_count
from synth.processes.worker import Pool
from synth.sandbox import jail
from synth.verifiers.base import Verifier
from synth.verifiers.math_equal import MathEqual


@dataclass(frozen=True, kw_only=True)
class Algebra(Verifier):
    r"""Compares answers by value, then by spelling, then by math-verify in warm processes that are
    ended when they take too long.

    Needs `pip install 'potstill[math]'` for the third; 100,000 pairs a CPU-second where it is not
    needed, 50 to 150 where it is.

    Args:
        tolerance: relative difference of values that still counts as equal.
        seconds: for one pair in the process; beyond them the answer is unknown, never "no".
        workers: processes.

    Example:
        >>> Algebra().verify("2(x+1)", "2x + 2")
        True
        >>> Algebra().verify(r"\frac{\sqrt{8}}{2}", r"\sqrt{2}")
        True
        >>> Algebra().verify("x", "y")
        False
    """

    tolerance: float = 1e-6
    seconds: float = 2.0
    workers: int = 1

    def __post_init__(self) -> None:
        require_count("workers", self.workers, 1, jail.MOST_WORKERS)

    @cached_property
    def pool(self) -> Pool:
        """The processes, started at the first pair that needs them."""
        return Pool(
            self.workers,
            "-m",
            "synth.sandbox.algebra_inside",
            seconds=self.seconds,
        )

    def verify(self, answer: str, gold: str) -> bool | None:
        """True or False where it can be told, None where a formula cannot be read or takes too
        long.

        Raises:
            WrongUse: math-verify is needed and not installed.
        """
        return self.verify_all([(answer, gold)])[0]

    def verify_all(self, pairs: list[tuple[str, str]]) -> list[bool | None]:
        """One verdict a pair, those that need the processes side by side."""
        verdicts = [
            self._by_value(str(answer), str(gold)) for answer, gold in pairs
        ]
        open_ = [
            n
            for n, verdict in enumerate(verdicts)
            if verdict is None and readable(*map(str, pairs[n]))
        ]
        replies = (
            self.pool.map(
                {"answer": str(pairs[n][0]), "gold": str(pairs[n][1])}
                for n in open_
            )
            if open_
            else []
        )
        for n, reply in zip(open_, replies, strict=True):
            verdicts[n] = None if reply is None else reply["same"]
        return verdicts

    def _by_value(self, answer: str, gold: str) -> bool | None:
        by_value = MathEqual(tolerance=self.tolerance).verify(answer, gold)
        if by_value is None and canonical(answer) == canonical(gold):
            return True
        return by_value


def readable(*texts: str) -> bool:
    """Whether texts are short and shallow enough for computer algebra."""
    return all(
        len(text) <= MOST_CHARS and _depth(text) <= MOST_DEPTH for text in texts
    )


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        if sign in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in ")]}":
            depth -= 1
    return deepest
