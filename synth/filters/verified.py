"""Keeps rows whose answer a verifier finds right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.answers.golds import shown
from synth.core.records import Row, Verdict, canonical_json
from synth.core.rows import text_of
from synth.filters.base import WorkFilter
from synth.verifiers.base import Verifier


@dataclass(frozen=True, kw_only=True)
class Verified(WorkFilter):
    """Holds a field against another one by a verifier: by one of this package, or by one of your
    own.

    Sees: one row. Costs: what the verifier costs.

    Args:
        verifier: `synth list verifiers` names them: `math_equal`, `spans`, `json_schema`, ..., or
            `module:Class`. One with parameters is `{"name": "spans", "ellipsis": false}`.
        field: the field that is verified; the raw reply where a row lacks it. What is no text goes
            to the verifier as JSON.
        target: the field that it is held against.

    Reasons:
        refuted: the verifier says no.
        undecided: the verifier cannot tell (unknown).
        no_target: the row has nothing to hold it against (unknown).

    Marks: `value` and `target`, where they differ.

    Example:
        >>> from synth.verifiers.spans import Spans
        >>> verified = Verified(verifier=Spans(), field="quote", target="source")
        >>> source = "Rain fell all night."
        >>> rows = [{"quote": quote, "source": source} for quote in ("rain fell", "snow fell")]
        >>> kept, dropped = verified.split(rows)
        >>> len(kept), dropped[0]["reason"]
        (1, 'refuted')
    """

    verifier: Verifier
    field: str = "answer"
    target: str = "target"

    reasons: ClassVar[dict[str, str]] = {
        "refuted": "the verifier says no",
        "undecided": "the verifier cannot tell",
        "no_target": "there is nothing to hold it against",
    }

    def needs(self) -> tuple[str, ...]:
        """What the field is held against."""
        return (self.target,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        return [self._verdict(row) for row in rows]

    def _verdict(self, row: Row) -> Verdict:
        target = row.get(self.target)
        if target is None:
            return Verdict(None, "no_target")
        value = row.get(self.field)
        text = text_of(row) if value is None else _text(value)
        right = self.verifier.verify(text, _text(target))
        if right is None:
            return Verdict(None, "undecided")
        if right:
            return Verdict(True)
        marks = {"value": shown(text), "target": shown(target)}
        return Verdict(False, "refuted", marks)


def _text(value: Any) -> str:
    """A value as a verifier reads it: what is no text is JSON."""
    return value if isinstance(value, str) else canonical_json(value).decode()
