"""Whether one of k draws is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import ClassVar

from finetune.measures.base import Measure
from synth.core.errors import WrongUse
from synth.core.records import Row


@dataclass(frozen=True, kw_only=True)
class PassAt(Measure):
    """The chance that at least one of `k` draws is right, without bias from n draws of which c are:
    1 - C(n - c, k) / C(n, k) (Chen et al., 2021, arXiv:2107.03374, equation 1).

    Args:
        k: draws that count.

    Example:
        >>> PassAt(k=1).of_question([{"right": True}, {"right": False}])
        0.5
    """

    k: int = 1
    needs_gold: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _at_least_one(self.k, "pass_at")

    def of_question(self, draws: Sequence[Row]) -> float | None:
        enough(draws, self.k, "pass_at")
        wrong = sum(not row.get("right") for row in draws)
        return 1 - comb(wrong, self.k) / comb(len(draws), self.k)


def _at_least_one(k: int, where: str) -> None:
    if k < 1:
        raise WrongUse(f"{where}: k", f"{k}", "1 or more", "Raise it.")


def enough(draws: Sequence[Row], k: int, where: str) -> None:
    """Raises WrongUse where a question has fewer draws than count."""
    _at_least_one(k, where)
    if len(draws) < k:
        raise WrongUse(
            f"{where}: k={k}",
            f"{len(draws)} draws of a question",
            f"at least {k}",
            f"Evaluate with --draws {k}, or lower k.",
        )
