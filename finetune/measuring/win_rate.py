"""Which of two students a judge likes better, asked about both orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.data.prompts import text_of
from finetune.measures.base import by_question, reply_of
from finetune.measuring.compare import check_same
from synth.core.aio import run_async
from synth.core.errors import WrongUse
from synth.core.records import Row, Verdict
from synth.filters.pairwise import Pairwise
from synth.statistics.paired import mean_interval


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """What a judge says of two students.

    Attributes:
        questions: that both answered.
        wins: the second one's reply is better in both orders.
        losses: the first one's is.
        ties: neither is, or both replies are the same.
        unjudged: no verdict could be read, or none came.
        flips: the judge liked the reply better that stood first (or second), whichever it was.
        rate: of the questions that were judged, wins and half of the ties, 0 to 1.
        low: where its 95 % bootstrap interval begins.
        high: where it ends.
    """

    questions: int
    wins: int
    losses: int
    ties: int
    unjudged: int
    flips: int
    rate: float
    low: float
    high: float


def win_rate(
    first: Sequence[Row], second: Sequence[Row], judge: Pairwise
) -> WinRate:
    """How often the second student's reply wins against the first one's (arXiv:2306.05685, section
    3.4); of several draws of a question the first one counts.

    Args:
        first: predictions of one.
        second: predictions of the other, about the same questions in any order.
        judge: who is asked, two calls a question.

    Raises:
        WrongUse: other questions, or no question that could be judged.
    """
    one = by_question(first)
    two = by_question(second)
    check_same(one, two)
    pairs = [
        {
            judge.question: text_of(draws[0].get("prompt") or ""),
            judge.chosen: reply_of(two[key][0]),
            judge.rejected: reply_of(draws[0]),
        }
        for key, draws in one.items()
    ]
    return counted(run_async(judge.verdicts(pairs)))


def counted(verdicts: Sequence[Verdict]) -> WinRate:
    """The win rate of verdicts on (second student's reply, first student's).

    Raises:
        WrongUse: none of them says anything.
    """
    worth: list[float] = []
    for verdict in verdicts:
        if verdict.keep is None:
            continue
        if verdict.keep:
            worth.append(1.0)
        else:
            lost = verdict.reason == "prefers_rejected"
            worth.append(0.0 if lost else 0.5)
    if not worth:
        raise WrongUse(
            "--judge",
            f"no verdict on any of {len(verdicts):,} questions",
            "one at least",
            "Look at the judge's replies, or take another one.",
        )
    low, high = mean_interval(worth)
    return WinRate(
        questions=len(verdicts),
        wins=worth.count(1.0),
        losses=worth.count(0.0),
        ties=worth.count(0.5),
        unjudged=len(verdicts) - len(worth),
        flips=sum(bool(verdict.marks.get("flips")) for verdict in verdicts),
        rate=fmean(worth),
        low=low,
        high=high,
    )
