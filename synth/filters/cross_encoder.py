"""Keeps rows that a cross-encoder trained on labelled rows finds right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import WrongUse
from synth.core.records import Row, Verdict
from synth.core.rows import text_of
from synth.filters.base import WorkFilter
from synth.local_models.scores import classes


@dataclass(frozen=True, kw_only=True)
class CrossEncoder(WorkFilter):
    """A model that `finetune critic` trained, or any sequence classification model over two texts.

    Sees: one row. Costs: nothing but time: a pass of the model a row.

    Args:
        model: a folder or a name of the hub.
        first: the field with the first text.
        second: the fields with the second text, joined by a space; the raw reply where a row has
            none of them.
        label: the model's own name of the label that keeps a row.
        least: keep rows with at least this probability (0 to 1).
        promise: what `synth calibrate` measured; for the card.

    Reasons:
        low_score: the probability is below the threshold.

    Marks: `score` (0 to 1).

    Example:
        >>> CrossEncoder(model="critic").texts(
        ...     {"question": "1 + 1?", "rationale": "1 + 1 = 2", "answer": "2"}
        ... )
        ('1 + 1?', '1 + 1 = 2 2')
    """

    model: str
    first: str = "question"
    second: tuple[str, ...] = ("rationale", "answer")
    label: str = "accepted"
    least: float = 0.5
    promise: Row | None = None

    reasons: ClassVar[dict[str, str]] = {
        "low_score": "the probability is below the threshold"
    }

    def needs(self) -> tuple[str, ...]:
        """The texts."""
        return (self.first, *self.second)

    def texts(self, row: Row) -> tuple[str, str]:
        """What the model reads of a row."""
        second = " ".join(
            str(row[name]) for name in self.second if row.get(name) is not None
        )
        return str(row.get(self.first) or ""), second or text_of(row)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, the model asked about many at once."""
        shares_by_row = classes([self.texts(row) for row in rows], self.model)
        if shares_by_row and self.label.casefold() not in shares_by_row[0]:
            raise WrongUse(
                f"cross_encoder:label={self.label}",
                f"labels {', '.join(shares_by_row[0])}",
                "one of them",
                "Name it with label=.",
            )
        scores = [shares[self.label.casefold()] for shares in shares_by_row]
        return [
            Verdict(
                s >= self.least,
                "" if s >= self.least else "low_score",
                {"score": round(s, 4)},
            )
            for s in scores
        ]
