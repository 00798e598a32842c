"""Keeps rows that a critic trained on labelled rows finds right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from synth.core.errors import WrongUse
from synth.core.records import Row, Verdict
from synth.filters.base import GroupFilter

if TYPE_CHECKING:
    from synth.critics.trained_model import Model


@dataclass(frozen=True, kw_only=True)
class Trained(GroupFilter):
    """Logistic regression over agreement, steps, numbers and shape; its threshold is the one that
    calibration promised.

    Sees: all draws of one question, never the gold. Costs: nothing; some 2,000 rows a CPU-second.
    On GSM8K replies of four models its area under the ROC curve is in the documentation's table of
    measured filters.

    Args:
        model: a file that `Model.save` wrote.
        least: keep rows with at least this score (0 to 1) instead of the calibrated one.

    Reasons:
        low_score: the score is below the threshold.

    Marks: `score` (0 to 1), `least`.

    Example:
        >>> import pathlib, tempfile
        >>> rows = [
        ...     {
        ...         "question": f"What is {n} + 4 ?",
        ...         "rationale": f"{n} + 4 = {n + said}",
        ...         "answer": str(n + said),
        ...         "is_correct": said == 4,
        ...     }
        ...     for n in range(30)
        ...     for said in (4, 4, 3)
        ... ]
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "critic.json"
        >>> Trained.fit(rows).calibrated(rows, target_precision=0.8).save(path)
        >>> kept, dropped = Trained(model=str(path)).split(rows[:3])
        >>> len(kept), dropped[0]["reason"]
        (2, 'low_score')
    """

    model: str
    least: float | None = None

    reads: ClassVar[tuple[str, ...]] = ("question", "rationale", "answer")
    reasons: ClassVar[dict[str, str]] = {
        "low_score": "the score is below the threshold"
    }

    @staticmethod
    def fit(
        rows: Sequence[Row],
        *,
        label: str = "is_correct",
        group: str = "question",
        columns: Sequence[str] = (),
        embedding: str | None = None,
    ) -> Model:
        """A model trained on labelled rows, to be calibrated on others and saved.

        Args:
            rows: with `question`, `rationale` (or `completion`), `answer` and the label.
            label: the column that says whether a row is right.
            group: the column that draws of one question share.
            columns: further columns whose values count, such as `teacher`.
            embedding: sentence vectors of the rationale count too: a folder or a name of the hub,
                or `hashing`.

        Raises:
            WrongUse: a row without a label, or labels that are all alike.
        """
        from synth.critics.trained_model import fit  # noqa: PLC0415 - numpy, for those who need it

        return fit(
            rows,
            label=label,
            group=group,
            columns=columns,
            embedding=embedding,
        )

    @cached_property
    def loaded(self) -> Model:
        """The model, read once."""
        # Numpy, for those who need it.
        from synth.critics.trained_model import Model  # noqa: PLC0415

        return Model.load(self.model)

    @cached_property
    def promise(self) -> Any:
        """What calibration measured; None where `least` was given by hand."""
        return self.loaded.threshold if self.least is None else None

    @cached_property
    def threshold(self) -> float:
        """The score from which on rows are kept.

        Raises:
            WrongUse: neither given nor calibrated.
        """
        if self.least is None and self.loaded.threshold is None:
            todo = (
                "Calibrate it: Model.calibrated(rows, target_precision=...), or give "
                "least=SCORE."
            )
            raise WrongUse(
                f"trained:model={self.model}",
                "a model without a threshold",
                "a calibrated model",
                todo,
            )
        if self.least is not None:
            return self.least
        return float((self.loaded.threshold or {})["least"])

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        scores = self.loaded.scores(
            [{**row, "_group": 0} for row in rows], group="_group"
        )
        marks = [
            {"score": round(score, 4), "least": round(self.threshold, 4)}
            for score in scores
        ]
        accepted = [score >= self.threshold for score in scores]
        return [
            Verdict(keep, "" if keep else "low_score", mark)
            for keep, mark in zip(accepted, marks, strict=True)
        ]
