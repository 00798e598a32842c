"""Keeps rows by how much their instruction helps a small model to say their answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.local_models.scores import losses


@dataclass(frozen=True, kw_only=True)
class Ifd(WorkFilter):
    """Instruction-following difficulty: exp(loss of the answer behind its question - loss of the
    answer alone).

    Li et al., "From Quantity to Quality", arXiv:2308.12032, equation 4, as a ratio of perplexities.
    Above 1 the question makes the answer less likely: the two do not belong together. Near 0 the
    question says it all. Long answers come out higher: compare with a random choice.

    Sees: one row. Costs: nothing but time: two passes of the model a row.

    Args:
        model: the student, or another causal language model: a folder or a name of the hub.
        prompt: the field with the instruction, formatted as the student will see it.
        field: the field with the answer; the raw reply where a row lacks it.
        least: rows below are too easy (above 0).
        most: rows above do not belong together.

    Reasons:
        too_easy: the question gives the answer away.
        misaligned: the question makes the answer less likely.
        nothing_to_say: the answer has no tokens (unknown).

    Marks: `ifd`, `nll` (nats a token behind the question), `tokens`.

    Example:
        >>> part = Ifd(model="Qwen/Qwen2.5-0.5B", least=0.2)
        >>> part.verdict_of(1.2, 2.0, 9).marks["ifd"]
        0.4493
        >>> part.verdict_of(2.2, 2.0, 9).reason
        'misaligned'
        >>> part.verdict_of(0.1, 2.0, 9).reason
        'too_easy'
    """

    model: str
    prompt: str = "question"
    field: str = "completion"
    least: float = 0.0
    most: float = 1.0

    reasons: ClassVar[dict[str, str]] = {
        "too_easy": "gives the answer away",
        "misaligned": "makes the answer less likely",
        "nothing_to_say": "no tokens",
    }

    def needs(self) -> tuple[str, ...]:
        """The instruction."""
        return (self.prompt,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, the model asked about many at once."""
        sides = [
            (str(row.get(self.prompt) or ""), field_text(row, self.field))
            for row in rows
        ]
        losses_of_sides = losses(
            [*sides, *(("", text) for _, text in sides)], self.model
        )
        pairs = zip(
            losses_of_sides[: len(sides)],
            losses_of_sides[len(sides) :],
            strict=True,
        )
        return [
            self.verdict_of(behind, alone, tokens)
            for (behind, tokens), (alone, _) in pairs
        ]

    def verdict_of(self, behind: float, alone: float, tokens: int) -> Verdict:
        """The verdict for the mean losses (nats a token) behind the question and alone."""
        if not tokens:
            return Verdict(
                None, "nothing_to_say", {"ifd": None, "nll": 0.0, "tokens": 0}
            )
        ifd = exp(min(50.0, behind - alone))
        reason = ""
        if ifd > self.most:
            reason = "misaligned"
        elif ifd < self.least:
            reason = "too_easy"
        return Verdict(
            not reason,
            reason,
            {"ifd": round(ifd, 4), "nll": round(behind, 4), "tokens": tokens},
        )
