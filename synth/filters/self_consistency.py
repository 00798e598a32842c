"""Keeps the draws that agree with the majority of their seed's draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import float_info
from typing import ClassVar, Literal

from synth.answers.equal import votes as one_key_a_value
from synth.core.errors import RowFault
from synth.core.records import Row, Verdict
from synth.core.rows import meta_of
from synth.filters.base import GroupFilter


@dataclass(frozen=True, kw_only=True)
class SelfConsistency(GroupFilter):
    """Votes over the answers of one seed's draws; all spellings of a value are one vote (Wang et
    al., arXiv:2203.11171).

    Sees: all draws of one seed. Costs: nothing beyond the draws. Cures random slips; a systematic
    error of the teacher wins its own vote.

    Args:
        min_share: the winner's least share of all draws, those without an answer included (0 to 1).
        min_votes: the winner's least number of votes (of voters, where `voter` is given).
        answer: name of the field to vote on.
        weight: name of a field with a number (0 or more) that a draw's vote counts, such as a
            critic's score or a ranker's; None for 1.
        voter: name of a field (or fact about the call, such as `teacher`) whose values have one
            vote each, shared out over their draws: teachers or prompts agree, whatever number of
            draws each has; None for a vote a draw.
        ties: `drop` keeps none where two answers share the lead, `keep` the draws of all that lead.

    Reasons:
        minority_answer: another answer won the vote.
        weak_majority: no answer reached `min_share` and `min_votes`, or two tied for the lead.
        no_vote: the draw has no answer.

    Marks: `winner`, `votes` (for the winner, weighed), `draws`, `share` (of all votes).

    Example:
        >>> rows = [{"question": "q", "answer": a} for a in ("26", "$26.00", "18")]
        >>> kept, dropped = SelfConsistency().split(rows)
        >>> len(kept), dropped[0]["reason"]
        (2, 'minority_answer')
    """

    min_share: float = 0.5
    min_votes: float = 2
    answer: str = "answer"
    weight: str | None = None
    voter: str | None = None
    ties: Literal["drop", "keep"] = "drop"

    reads: ClassVar[tuple[str, ...]] = ("answer",)
    reasons: ClassVar[dict[str, str]] = {
        "minority_answer": "another answer won",
        "weak_majority": "no answer won clearly",
        "no_vote": "there is no answer",
    }

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError(
                f"min_share={self.min_share}; use a share from 0 to 1"
            )

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        votes = one_key_a_value(
            [
                None if row.get(self.answer) is None else str(row[self.answer])
                for row in rows
            ]
        )
        weights = self.weights(rows)
        sums: dict[str, float] = {}
        for vote, weight in zip(votes, weights, strict=True):
            if vote is not None:
                sums[vote] = round(sums.get(vote, 0) + weight, 9)
        best = max(sums.values(), default=0)
        total = round(sum(weights), 9)
        leading = {answer for answer, n in sums.items() if n == best}
        enough = (
            best >= self.min_votes
            and best >= self.min_share * total
            and best > 0
        )
        clear = (len(leading) == 1 or self.ties == "keep") and enough
        marks = {
            "winner": min(leading, default=None),
            "votes": best,
            "draws": len(rows),
            "share": round(best / total, 4) if total else 0.0,
        }
        return [
            Verdict(
                clear and v in leading, _reason(v, leading, clear=clear), marks
            )
            for v in votes
        ]

    def weights(self, rows: Sequence[Row]) -> list[float]:
        """What each draw's vote counts.

        Raises:
            WrongUse: a weight that is no number from 0 on.
        """
        weights = (
            [self._weight(row) for row in rows]
            if self.weight
            else [1] * len(rows)
        )
        if self.voter is None:
            return list(weights)
        voters = [str(meta_of(row, self.voter)) for row in rows]
        return [
            weight / voters.count(voter)
            for weight, voter in zip(weights, voters, strict=True)
        ]

    def _weight(self, row: Row) -> float:
        weight = row.get(str(self.weight))
        if (
            isinstance(weight, bool)
            or not isinstance(weight, int | float)
            or not 0 <= weight <= float_info.max
        ):
            todo = "Let a filter or a parser write it, or name another field."
            raise RowFault(
                f"self_consistency:weight={self.weight}",
                f"{weight!r} in row {row.get('id', '')}",
                "a number from 0 on",
                todo,
            )
        return float(weight)


def _reason(vote: str | None, leading: set[str], *, clear: bool) -> str:
    if vote is None:
        return "no_vote"
    if not clear:
        return "weak_majority"
    return "" if vote in leading else "minority_answer"
