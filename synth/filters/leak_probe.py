"""Drops rewritten texts in which a probe still finds what should have gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from synth.core.errors import require_count
from synth.core.records import Row, Verdict
from synth.core.registry import MOST
from synth.core.rows import field_text, row_digest
from synth.filters.base import CorpusFilter

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class LeakProbe(CorpusFilter):
    """A logistic regression on sentence vectors of the rewritten texts themselves guesses the
    variable of each, by cross-fitting.

    A prompt to remove sentiment does not remove it (arXiv:2403.16584), so no text is believed: each
    is probed by a model that was fitted on the others. What the probe is surer of than chance
    allows is dropped.

    Sees: all rows. Costs: a vector a row.

    Args:
        field: the field with the rewritten text.
        variable: the field with what should not be seen.
        embedding: `hashing`, a folder or a name of the hub.
        most: largest probability of the right value that is kept, as a multiple of its share among
            the rows.
        folds: how many parts; each is judged by a probe of the others.
        ridge: strength of the probe's L2 penalty.

    Reasons:
        still_visible: the probe finds the right value.
        too_few_rows: fewer than ten rows, or one value alone (unknown).

    Marks: `probability` (of the right value), `share` (of that value among the rows).

    Example:
        >>> rows = [
        ...     {"text": f"{'good fine' if n % 2 else 'bad awful'} film {n}", "label": str(n % 2)}
        ...     for n in range(20)
        ... ]
        >>> len(LeakProbe(field="text", variable="label", embedding="hashing").split(rows)[1]) > 15
        True
    """

    field: str = "text"
    variable: str = "label"
    embedding: str = "hashing"
    most: float = 1.2
    folds: int = 5
    ridge: float = 1.0

    reasons: ClassVar[dict[str, str]] = {
        "still_visible": "a probe finds it",
        "too_few_rows": "too few rows to fit a probe",
    }

    def __post_init__(self) -> None:
        require_count("folds", self.folds, 2, MOST)

    def needs(self) -> tuple[str, ...]:
        """The variable."""
        return (self.variable,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        labels = [str(row.get(self.variable)) for row in rows]
        if len(rows) < max(_FEWEST, self.folds) or len(set(labels)) < 2:
            return [Verdict(None, "too_few_rows") for _ in rows]
        made = []
        for label, chance in zip(
            labels, self._chances(rows, labels), strict=True
        ):
            share = labels.count(label) / len(labels)
            leaks = chance > min(0.99, self.most * share)
            made.append(
                Verdict(
                    not leaks,
                    "still_visible" if leaks else "",
                    {"probability": round(chance, 4), "share": round(share, 4)},
                )
            )
        return made

    def _chances(
        self, rows: Sequence[Row], labels: Sequence[str]
    ) -> list[float]:
        """The probability that each row's own value gets from a probe that did not see the row."""
        import numpy as np  # noqa: PLC0415 - for those who need it

        from synth.critics.trained_model import Logistic  # noqa: PLC0415
        from synth.local_models.scores import vectors  # noqa: PLC0415

        table = vectors(
            [field_text(row, self.field) for row in rows], self.embedding
        ).astype(float)
        digests = [row_digest(row) for row in rows]
        fold = (
            np.argsort(
                np.array(
                    sorted(range(len(rows)), key=lambda index: digests[index])
                )
            )
            % self.folds
        )
        chances = np.zeros(len(rows))
        for value in sorted(set(labels)):
            mine = np.array([label == value for label in labels], dtype=float)
            for part in range(self.folds):
                train = fold != part
                test = (fold == part) & (mine == 1)
                if test.any():
                    chances[test] = Logistic.fit(
                        table[train], mine[train], self.ridge
                    ).chances(table[test])
        return [float(chance) for chance in chances]
