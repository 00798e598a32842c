"""What labelled rows promise of a filter that gives scores: its threshold, its curve, how far it
can be believed.
"""

from __future__ import annotations

from collections.abc import Iterable

from synth.core.aio import run_async
from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.core.rows import seeds_of
from synth.critics.judge import Judge
from synth.statistics.curves import bins, calibration_error, choose, probability
from synth.statistics.thresholds import calibrate


def promised(
    part: Judge,
    labelled: Iterable[Row],
    *,
    label: str = "is_correct",
    group: str = "question",
    target_precision: float,
    confidence: float = 0.9,
) -> Fields:
    """The promise of a filter asked about labelled rows: that of `calibrate`, and `curve`, `error`
    (before and after), `bins`.

    Rows that it cannot judge get the lowest score: no threshold keeps them.

    Raises:
        NotEnoughEvidence: no threshold can be promised; says how many labels are missing.
        WrongUse: a row without a label, or a filter without scores.
    """
    rows = [dict(row) for row in labelled]
    scores = scores_of(part, rows, group)
    labels = labels_of(rows, label)
    groups = seeds_of(rows, group)
    promise = calibrate(
        scores,
        labels,
        groups,
        target_precision=target_precision,
        confidence=confidence,
        lowest=0.0,
    ).record()
    judged = [n for n, score in enumerate(scores) if score >= 0]
    judged_scores = [scores[n] for n in judged]
    right = [labels[n] for n in judged]
    curve = choose(judged_scores, right, [groups[n] for n in judged])
    chances = [probability(curve, score) for score in judged_scores]
    error = {
        "before": round(calibration_error(judged_scores, right), 4),
        "after": round(calibration_error(chances, right), 4),
    }
    return {
        **promise,
        "unknown": len(rows) - len(judged),
        "curve": dict(curve),
        "error": error,
        "bins": {
            "before": bins(judged_scores, right),
            "after": bins(chances, right),
        },
    }


def scores_of(part: Judge, rows: list[Fields], group: str) -> list[float]:
    """The score of each row (0 to 1), -1 where the filter could not judge.

    Raises:
        WrongUse: the filter gives none.
    """
    if not (hasattr(part, "least") and hasattr(part, "promise")):
        todo = (
            "Calibrate a critic or entailment; `Trained.fit(...).calibrated(...)` does it for "
            "a trained one."
        )
        raise WrongUse(
            f"filter {part.name}",
            "a filter without scores",
            "one with `least` and `promise`",
            todo,
        )
    if part.group == "draws":
        kept, dropped = part.split(
            [{**row, "__place__": n} for n, row in enumerate(rows)], group=group
        )
        marks = {
            row["__place__"]: row["marks"][part.name]
            for row in [*kept, *dropped]
        }
        scores = []
        for place in range(len(rows)):
            score = marks[place].get(part.score, -1.0)
            scores.append(float(score))
        return scores
    return [
        float(verdict.marks.get(part.score, -1.0))
        for verdict in run_async(part.verdicts(rows))
    ]


def labels_of(rows: Iterable[Row], label: str) -> list[bool]:
    """The labels of rows.

    Raises:
        WrongUse: a row without one.
    """
    labels = []
    for number, row in enumerate(rows, 1):
        # 1 and 0 are true and false; a grade from 1 to 5 says nothing.
        if row.get(label) not in (0, 1) or isinstance(row[label], float):
            raise WrongUse(
                f"row {number}",
                f"{label} = {row.get(label)!r}",
                "true or false",
                "Label it, or name the column with label=.",
            )
        labels.append(bool(row[label]))
    return labels


def promises_of(parts: Iterable[Judge]) -> list[tuple[str, Fields]]:
    """(name, promise) of the filters that were calibrated."""
    return [
        (part.name, dict(promise))
        for part in parts
        if (promise := getattr(part, "promise", None))
    ]


def card_lines(promises: Iterable[tuple[str, Row]]) -> list[str]:
    """What a card says of filters whose precision was measured."""
    return [
        f"- `{name}` keeps scores from {p['least']:.3f} on. On {p['rows']:,} labelled rows: "
        f"precision {p['precision']:.3f}, at least "
        f"{p['low']:.3f} with confidence {p['confidence']:g} (asked for: {p['target']:g}), "
        f"recall {p['recall']:.3f}, {p['kept']:,} kept."
        for name, p in promises
    ]
