"""Keeps the rows that a large model finds easy and the student finds hard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import CorpusFilter
from synth.local_models.scores import losses


@dataclass(frozen=True, kw_only=True)
class Learnability(CorpusFilter):
    """Loss of the student minus loss of a reference model, in nats a token; the rows with the
    largest difference stay.

    The learnability score of ACID (Udandarao et al., arXiv:2411.18674) for texts, one pass of each
    model over all rows.

    Sees: all rows. Costs: nothing but time: a pass of each model a row.

    Args:
        student: a folder or a name of the hub.
        reference: a larger open model of the same kind.
        field: the field with the prompt.
        answer: the field with the answer; the raw reply where a row lacks it.
        most: how many rows stay (the paper keeps a fifth).

    Reasons:
        little_to_learn: others teach more.

    Marks: `learnability`, `nll_student`, `nll_reference`.

    Example:
        >>> Learnability(student="student", reference="teacher", most=1).verdicts_of(
        ...     [2.0, 1.0], [1.0, 0.9]
        ... )[1].reason
        'little_to_learn'
    """

    student: str
    reference: str
    most: int
    answer: str = "completion"

    reasons: ClassVar[dict[str, str]] = {"little_to_learn": "others teach more"}

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most={self.most}; keep at least one row")

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        pairs = [
            (str(row.get(self.field) or ""), field_text(row, self.answer))
            for row in rows
        ]
        return self.verdicts_of(
            [nll for nll, _ in losses(pairs, self.student)],
            [nll for nll, _ in losses(pairs, self.reference)],
        )

    def verdicts_of(
        self, student: Sequence[float], reference: Sequence[float]
    ) -> list[Verdict]:
        """The verdicts for the losses of both models; rows that tie with the last one that stays
        all stay.
        """
        scores = [
            round(ours - theirs, 6)
            for ours, theirs in zip(student, reference, strict=True)
        ]
        least = min(sorted(scores, reverse=True)[: self.most], default=0.0)
        marks = [
            {"learnability": s, "nll_student": ours, "nll_reference": theirs}
            for s, ours, theirs in zip(scores, student, reference, strict=True)
        ]
        return [
            Verdict(s >= least, "" if s >= least else "little_to_learn", mark)
            for s, mark in zip(scores, marks, strict=True)
        ]
