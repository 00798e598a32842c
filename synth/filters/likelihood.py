"""Drops the replies that their own teacher found least likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import require_share
from synth.core.records import Row, Verdict
from synth.core.rows import meta_of
from synth.filters.base import CorpusFilter


@dataclass(frozen=True, kw_only=True)
class Likelihood(CorpusFilter):
    """Ranks rows by the sum of their tokens' log-probabilities and drops the worst share (West et
    al., arXiv:2110.07178).

    Needs a provider that sends log-probabilities (`sampling: {logprobs: true}`); rows without them
    are unknown. Where none come, rules of form (`wording`, `length`) stand in.

    Sees: all rows. Costs: nothing.

    Args:
        worst: share of the rows with log-probabilities that is dropped, 0 to 1.
        mean: ranks by the mean over tokens instead of the sum.

    Reasons:
        unlikely: among the worst share.
        no_logprobs: the provider sent none (unknown).

    Marks: `logprob` (nats, a token or in all).

    Example:
        >>> rows = [{"logprob": -n, "completion_tokens": 1} for n in (1.0, 2.0, 9.0, 3.0, 2.5)]
        >>> [row["marks"]["likelihood"]["logprob"] for row in Likelihood(worst=0.2).split(rows)[1]]
        [-9.0]
    """

    worst: float = 0.2
    mean: bool = False

    reasons: ClassVar[dict[str, str]] = {
        "unlikely": "among the worst share",
        "no_logprobs": "no log-probabilities",
    }

    def __post_init__(self) -> None:
        require_share("worst", self.worst)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        sums = [self._sum(row) for row in rows]
        order = sorted(
            (value, index)
            for index, value in enumerate(sums)
            if value is not None
        )
        few = int(self.worst * len(order) + 1e-9)
        dropped = {index for _, index in order[:few]}
        verdicts = []
        for index, value in enumerate(sums):
            if value is None:
                verdicts.append(Verdict(None, "no_logprobs"))
                continue
            reason = "unlikely" if index in dropped else ""
            marks = {"logprob": round(value, 4)}
            verdicts.append(Verdict(not reason, reason, marks))
        return verdicts

    def _sum(self, row: Row) -> float | None:
        mean = meta_of(row, "logprob")
        tokens = meta_of(row, "completion_tokens")
        if not isinstance(mean, int | float) or not (
            self.mean or isinstance(tokens, int)
        ):
            return None
        return float(mean) if self.mean else float(mean) * tokens
