"""A threshold with a promise: precision at least so much with so much confidence, or a refusal that
says what is missing.

Thresholds are tested from the strictest on, each by the exact binomial bound of Clopper and
Pearson, until the first that fails (fixed-sequence testing, so that looking at many thresholds
spends no confidence; Angelopoulos et al., arXiv:2110.01052). Rows of one question are alike: their
number is divided by the design effect (Kish) that the labels show.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from math import inf, log

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.statistics.intervals import lower_bound

# Thresholds that are tried: the strictest keeps this share of the rows, and each adds as much as
# STEP of them.
FIRST = 0.1
STEP = 0.05


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A score from which on rows may be kept, and what that rests on.

    Attributes:
        least: keep rows with at least this score.
        precision: share of right rows among the labelled ones that it keeps.
        low: lower confidence bound of the precision, at `confidence`.
        kept: labelled rows at or above it; `effective` after clusters were taken into account.
        rows: labelled rows in all.
        recall: share of the right labelled rows that it keeps.
    """

    least: float
    precision: float
    low: float
    kept: int
    effective: float
    rows: int
    recall: float
    target: float
    confidence: float

    def record(self) -> Fields:
        """As cards and files hold it."""
        return asdict(self)


class NotEnoughEvidence(ValueError):
    """No threshold can be promised; `missing` is about how many more labelled rows it would take,
    None where more would not help.
    """

    def __init__(self, target: float, best: float, missing: int | None) -> None:
        self.target = target
        self.best = best
        self.missing = missing
        more = (
            "more labels will not help: take a lower target or a better critic"
            if missing is None
            else f"label about {missing:,} more rows"
        )
        super().__init__(
            f"no threshold reaches precision {target:g} with confidence (the strictest shows "
            f"{best:.3f}); {more}"
        )


def calibrate(
    scores: Sequence[float],
    labels: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    target_precision: float,
    confidence: float = 0.9,
    lowest: float = -inf,
) -> Threshold:
    """The loosest threshold whose precision can be promised.

    Args:
        scores: of labelled rows that the critic was not trained on; higher is better.
        labels: whether each row is right.
        groups: the question of each row; None where every row stands alone.
        target_precision: to be promised (0 to 1).
        confidence: probability of keeping the promise (0 to 1).
        lowest: no threshold lies below; right rows below it are lost.

    Raises:
        NotEnoughEvidence: there is none.
        WrongUse: not one label, or not one group, for each score.

    Example:
        >>> found = calibrate(
        ...     [0.9] * 60 + [0.1] * 40, [True] * 60 + [False] * 40, target_precision=0.9
        ... )
        >>> found.least, found.kept, round(found.low, 3)
        (0.9, 60, 0.962)
    """
    if not 0 < target_precision < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"target_precision={target_precision}, confidence={confidence}; use shares between 0 "
            "and 1"
        )
    _check_counts(scores, labels=labels, groups=groups)
    judged = sum(score >= lowest for score in scores)
    if not judged:
        raise NotEnoughEvidence(
            target_precision, 0.0, _needed(target_precision, 1 - confidence)
        )
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    ranked = [
        (scores[n], bool(labels[n]), groups[n] if groups is not None else n)
        for n in order
    ]
    best: Threshold | None = None
    needed = _needed(target_precision, 1 - confidence)
    for kept in _steps(ranked[:judged], needed):
        threshold = _threshold(ranked, kept, target_precision, confidence)
        if threshold.low >= target_precision:
            best = threshold
            continue
        if best or threshold.precision > target_precision:
            return best or _refuse(threshold)
        # With more labels the strictest threshold keeps as few of them as FIRST says.
        narrow = _steps(ranked[:judged], 0)[0]
        strictest = _threshold(
            ranked,
            narrow,
            target_precision,
            confidence,
        )
        return _refuse(strictest, fewest=2 * needed)
    assert best is not None  # noqa: S101 - there is at least one step
    return best


def _check_counts(
    scores: Sequence[float], **columns: Sequence[object] | None
) -> None:
    """Raises WrongUse where a column is shorter or longer than the scores."""
    for name, values in columns.items():
        if values is not None and len(values) != len(scores):
            raise WrongUse(
                name,
                f"{len(values):,} for {len(scores):,} scores",
                f"{len(scores):,}, one for each score",
                "Give those of the same rows, in the same order.",
            )


def _refuse(strictest: Threshold, fewest: float = 0.0) -> Threshold:
    """Says how many labels would do, if the strictest threshold's precision holds; `fewest` groups
    that it must keep.
    """
    target = strictest.target
    alpha = 1 - strictest.confidence
    seen = strictest.precision
    missing = None
    if seen > target:
        effective = max(fewest, strictest.effective)
        while (
            lower_bound(seen * effective, effective, alpha) < target
            and effective < 1e7
        ):
            effective *= 1.05
        missing = max(
            1,
            round(
                effective * strictest.kept / strictest.effective / FIRST
                - strictest.rows
            ),
        )
    raise NotEnoughEvidence(target, seen, missing)


def _needed(target: float, alpha: float) -> int:
    """Kept rows without one error that it takes to promise the target."""
    return int(log(alpha) / log(target)) + 1


def _steps(
    ranked: Sequence[tuple[float, bool, Hashable]], needed: int
) -> list[int]:
    """How many rows each threshold keeps, rows of equal score together; the first has groups enough
    to forgive an error or two.

    Labels play no part in it, as the order of tests must be fixed before they are seen.
    """
    out = []
    step = max(1, round(STEP * len(ranked)))
    seen = set[Hashable]()
    first = len(ranked)
    for count, (_, _, group) in enumerate(ranked, 1):
        seen.add(group)
        if len(seen) >= 2 * needed and count >= FIRST * len(ranked):
            first = count
            break
    kept = first
    while True:
        while kept < len(ranked) and ranked[kept][0] == ranked[kept - 1][0]:
            kept += 1
        out.append(kept)
        if kept >= len(ranked):
            return out
        kept = min(len(ranked), kept + step)


def _threshold(
    ranked: Sequence[tuple[float, bool, Hashable]],
    kept: int,
    target: float,
    confidence: float,
) -> Threshold:
    right = sum(label for _, label, _ in ranked[:kept])
    effective = kept / design_effect(
        [(label, group) for _, label, group in ranked[:kept]]
    )
    low = lower_bound(right * effective / kept, effective, 1 - confidence)
    return Threshold(
        least=ranked[kept - 1][0],
        precision=right / kept,
        low=low,
        kept=kept,
        effective=effective,
        rows=len(ranked),
        recall=right / max(1, sum(label for _, label, _ in ranked)),
        target=target,
        confidence=confidence,
    )


def design_effect(pairs: Sequence[tuple[bool, Hashable]]) -> float:
    """How many times larger the variance of a share is because rows come in groups; at least 1
    (ratio estimator, Cochran 1977, 11.7).
    """
    mean = sum(label for label, _ in pairs) / len(pairs)
    if not 0 < mean < 1:
        # Labels that are all alike show no spread: each group counts once.
        return len(pairs) / len({group for _, group in pairs})
    residuals: dict[Hashable, float] = {}
    for label, group in pairs:
        residuals[group] = residuals.get(group, 0.0) + label - mean
    return max(
        1.0,
        sum(r * r for r in residuals.values())
        / (len(pairs) * mean * (1 - mean)),
    )
