"""Keeps a given number of rows that lie far from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from synth.core.records import Row, Verdict
from synth.core.rows import rank_of
from synth.filters.base import CorpusFilter
from synth.filters.near_duplicate import by_length
from synth.local_models.minilm import MINILM
from synth.local_models.scores import vectors

if TYPE_CHECKING:
    from synth.local_models.scores import Vectors


@dataclass(frozen=True, kw_only=True)
class Diversity(CorpusFilter):
    """Greedy choice over sentence vectors.

    `k_centre` takes, again and again, the row that is farthest from all that are taken (Sener and
    Savarese, arXiv:1708.00489). `deita` goes through the rows from the best to the worst and takes
    each whose nearest taken row is farther than `far` (Liu et al., arXiv:2312.15685, section 2.4).

    Sees: all rows. Costs: nothing but time: 400 short texts a second on two cores for the vectors,
    then rows * `most` cosines.

    Args:
        field: the text; the row's raw reply where it lacks the field.
        most: how many rows are kept.
        method: `k_centre` or `deita`.
        by: for `deita`, the field with the number (higher is better) that ranks rows, such as
            complexity times quality; None for length.
        far: for `deita`, least distance (1 - cosine, 0 to 2) to the nearest taken row.
        embedding: a folder or a name of the hub, or `hashing`.

    Reasons:
        too_close: a kept row is too near (`deita`), or others lie farther out (`k_centre`).
        enough: `most` rows are kept.

    Marks: `distance` (to the nearest row that was taken before), `rank` (of kept rows; 1 is the
    first).

    Example:
        >>> rows = [
        ...     {"question": text}
        ...     for text in ("red old house", "red old house here", "seven blue birds sing")
        ... ]
        >>> kept, _ = Diversity(most=2, embedding="hashing").split(rows)
        >>> sorted(row["question"] for row in kept)
        ['red old house here', 'seven blue birds sing']
    """

    most: int
    method: Literal["k_centre", "deita"] = "k_centre"
    by: str | None = None
    far: float = 0.1
    embedding: str = MINILM

    reasons: ClassVar[dict[str, str]] = {
        "too_close": "a kept row is too near",
        "enough": "so many are kept",
    }

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most={self.most}; keep at least one row")

    def needs(self) -> tuple[str, ...]:
        """The text and the rank."""
        return (self.field, self.by) if self.by else (self.field,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        texts = [self.text(row, self.field) for row in rows]
        order = by_length(texts)
        if self.by:
            worth = [rank_of(row, self.by, self.name) for row in rows]
            order.sort(key=lambda index: -worth[index])
        table = vectors(texts, self.embedding)
        if self.method == "k_centre":
            return k_centre(table, order, self.most)
        return deita(table, order, self.most, self.far)


def k_centre(table: Vectors, order: Sequence[int], most: int) -> list[Verdict]:
    """The first of the order, then always the farthest; equally far ones in the order."""
    import numpy as np  # noqa: PLC0415 - for those who need it

    table = table[list(order)]
    count = min(most, len(order))
    # The largest distance (1 - cosine) that there is.
    distance = np.full(len(order), 2.0, np.float32)
    verdicts: dict[int, Verdict] = {}
    for rank in range(1, count + 1):
        at = int(distance.argmax())
        marks = {"distance": _rounded(distance[at]), "rank": rank}
        verdicts[order[at]] = Verdict(True, "", marks)
        distance = np.minimum(distance, 1 - table @ table[at])
        distance[at] = -1.0
    for at, index in enumerate(order):
        if index not in verdicts:
            marks = {"distance": _rounded(distance[at])}
            verdicts[index] = Verdict(False, "too_close", marks)
    return [verdicts[index] for index in range(len(order))]


def _rounded(distance: Any) -> float:
    return round(float(distance), 4)


def deita(
    table: Vectors, order: Sequence[int], most: int, far: float
) -> list[Verdict]:
    """Down the order, each that is far enough from all that were taken."""
    import numpy as np  # noqa: PLC0415 - for those who need it

    width = table.shape[1]
    size = min(most, len(order))
    taken = np.zeros((size, width), np.float32)
    verdicts: dict[int, Verdict] = {}
    count = 0
    for index in order:
        distance = 2.0
        if count:
            cosines = taken[:count] @ table[index]
            distance = _rounded(1 - cosines.max())
        marks = {"distance": distance}
        if count == most:
            verdicts[index] = Verdict(False, "enough", marks)
        elif distance < far:
            verdicts[index] = Verdict(False, "too_close", marks)
        else:
            taken[count] = table[index]
            count += 1
            marks["rank"] = count
            verdicts[index] = Verdict(True, "", marks)
    return [verdicts[index] for index in range(len(order))]
