"""Keeps the draws that agree with the majority of their seed's draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.filters.base import GroupFilter
from synth.records import Row, Verdict
from synth.verifiers.math_equal import canonical


@dataclass(frozen=True, kw_only=True)
class SelfConsistency(GroupFilter):
    """Votes over the answers of one seed's draws; all spellings of a value are one vote (Wang et al., arXiv:2203.11171).

    Sees: all draws of one seed. Costs: nothing beyond the draws. Cures random slips; a systematic error of
    the teacher wins its own vote.

    Args:
        min_share: the winner's least share of all draws, those without an answer included (0 to 1).
        min_votes: the winner's least number of votes.
        answer: name of the field to vote on.
        ties: `drop` keeps none where two answers share the lead, `keep` the draws of all that lead.

    Reasons:
        minority_answer: another answer won the vote.
        weak_majority: no answer reached `min_share` and `min_votes`, or two tied for the lead.
        no_vote: the draw has no answer.

    Marks: `winner`, `votes` (for the winner), `draws`, `share`.

    Example:
        >>> rows = [{"question": "q", "answer": a} for a in ("26", "$26.00", "18")]
        >>> kept, dropped = SelfConsistency().split(rows)
        >>> len(kept), dropped[0]["reason"]
        (2, 'minority_answer')
    """

    min_share: float = 0.5
    min_votes: int = 2
    answer: str = "answer"
    ties: Literal["drop", "keep"] = "drop"

    reads: ClassVar[tuple[str, ...]] = ("answer",)
    reasons: ClassVar[dict[str, str]] = {
        "minority_answer": "another answer won", "weak_majority": "no answer won clearly", "no_vote": "there is no answer",
    }  # fmt: skip

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"min_share={self.min_share}; use a share from 0 to 1")

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict per draw."""
        votes = [None if row.get(self.answer) is None else canonical(str(row[self.answer])) for row in rows]
        ranked = Counter(v for v in votes if v is not None).most_common()
        winner, count = ranked[0] if ranked else (None, 0)
        leading = {answer for answer, n in ranked if n == count}
        clear = (len(leading) == 1 or self.ties == "keep") and count >= self.min_votes and count >= self.min_share * len(rows)
        marks = {"winner": winner, "votes": count, "draws": len(rows), "share": round(count / max(1, len(rows)), 4)}
        return [Verdict(clear and v in leading, _reason(v, leading, clear=clear), marks) for v in votes]


def _reason(vote: str | None, leading: set[str], *, clear: bool) -> str:
    if vote is None:
        return "no_vote"
    if not clear:
        return "weak_majority"
    return "" if vote in leading else "minority_answer"
