"""How far people who label the same things agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def krippendorff_alpha(
    units: Iterable[Sequence[Hashable | None]],
) -> float | None:
    """Krippendorff's alpha for nominal values, any number of labellers and missing values
    (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C).

    Args:
        units: for each thing the values that it got; None where a labeller gave none.

    Returns:
        1 where all agree, 0 where they agree as chance would, below 0 where less; None where it
        says nothing: no thing has two values, or all values are the same.

    >>> krippendorff_alpha([("yes", "yes"), ("no", "no"), ("yes", "no")])
    0.4444444444444444
    """
    totals: Counter[Hashable] = Counter()
    observed = 0.0
    for unit in units:
        values = Counter(value for value in unit if value is not None)
        count = values.total()
        if count < 2:
            continue
        totals += values
        # Ordered pairs of unlike values, each weighted by 1 / (count - 1).
        alike = sum(n * n for n in values.values())
        observed += (count * count - alike) / (count - 1)
    whole = totals.total()
    alike = sum(n * n for n in totals.values())
    expected = whole * whole - alike
    if not expected:
        return None
    return 1 - (whole - 1) * observed / expected
