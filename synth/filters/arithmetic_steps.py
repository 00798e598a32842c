"""Keeps rows whose every computed step is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.verifiers import arithmetic_steps as verifier


@dataclass(frozen=True, kw_only=True)
class ArithmeticSteps(RowFilter):
    """Computes every `expression = result` of the rationale exactly.

    Sees: one row. Costs: nothing; some thousand rows a CPU-second. Good negative evidence (a wrong
    step is wrong), no gate by itself: a chain without equations is unknown.

    Args:
        field: name of the field to read; the raw reply where a row lacks it.
        least: with fewer computed steps than this the row is unknown.

    Reasons:
        wrong_step: a computed step does not hold.

    Marks: `steps` (equations found), `wrong` (the first wrong one).

    Example:
        >>> kept, dropped = ArithmeticSteps().split(
        ...     [{"rationale": "8 + 5 = 13"}, {"rationale": "8 + 5 = 3"}]
        ... )
        >>> len(kept), dropped[0]["marks"]["arithmetic_steps"]["wrong"]
        (1, '8 + 5 = 3')
    """

    field: str = "rationale"
    least: int = 1

    reads: ClassVar[tuple[str, ...]] = ("rationale",)
    reasons: ClassVar[dict[str, str]] = {
        "wrong_step": "a computed step does not hold"
    }

    def verdict(self, row: Row) -> Verdict:
        equations = verifier.ArithmeticSteps().equations(
            field_text(row, self.field)
        )
        wrong = next((e.text for e in equations if not e.right), None)
        if wrong is not None:
            return Verdict(
                False, "wrong_step", {"steps": len(equations), "wrong": wrong}
            )
        return Verdict(
            True if len(equations) >= self.least else None,
            "",
            {"steps": len(equations)},
        )
