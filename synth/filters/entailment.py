"""Keeps rows whose text follows from another text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.verifiers.entailment import Entailment as Verifier


@dataclass(frozen=True, kw_only=True)
class Entailment(WorkFilter):
    """A natural language inference model says whether the premise entails the text.

    Without such a model, `critic:pack=judge_entailment` asks a teacher.

    Sees: one row. Costs: nothing but time: a pass of the model a direction.

    Args:
        model: a folder or a name of the hub, whose labels say "entailment".
        premise: the field that should entail.
        field: the field that should be entailed; the raw reply where a row lacks it.
        direction: `forward` (premise to text), `backward`, or `both`.
        least: least probability (0 to 1), in each direction asked for.
        promise: what `synth calibrate` measured; for the card.

    Reasons:
        not_entailed: less likely than `least`.
        contradicted: contradiction is the likelier one.
        no_premise: the row has none (unknown).

    Marks: `entailment`, `contradiction` (the worse direction's).

    Example:
        >>> part = Entailment(model="cross-encoder/nli-deberta-v3-small", premise="source")
        >>> part.needs(), part.judge_group([{"answer": "no premise"}])[0].reason
        (('source',), 'no_premise')
    """

    model: str
    premise: str = "source"
    field: str = "answer"
    direction: Literal["forward", "backward", "both"] = "forward"
    least: float = 0.75
    promise: Row | None = None

    score: ClassVar[str] = "entailment"
    reasons: ClassVar[dict[str, str]] = {
        "not_entailed": "less likely than asked for",
        "contradicted": "contradiction is likelier",
        "no_premise": "no premise",
    }

    def needs(self) -> tuple[str, ...]:
        """The premise."""
        return (self.premise,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, the model asked about many at once."""
        places = [n for n, row in enumerate(rows) if row.get(self.premise)]
        pairs = [
            (str(rows[n][self.premise]), field_text(rows[n], self.field))
            for n in places
        ]
        probabilities = dict(
            zip(
                places,
                Verifier(model=self.model, direction=self.direction).shares(
                    pairs
                ),
                strict=True,
            )
        )
        return [
            self._verdict(probabilities[n])
            if n in probabilities
            else Verdict(None, "no_premise")
            for n in range(len(rows))
        ]

    def _verdict(self, share: tuple[float, float]) -> Verdict:
        yes, no = share
        reason = ""
        if yes < self.least:
            reason = "contradicted" if no > yes else "not_entailed"
        return Verdict(
            not reason,
            reason,
            {"entailment": round(yes, 4), "contradiction": round(no, 4)},
        )
