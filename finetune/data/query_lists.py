"""Queries with lists of texts, from any of the shapes in which rows for retrievers and rankers
come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from finetune.data import rows
from synth.core.errors import WrongUse
from synth.core.records import Row

_SHAPES = (
    "anchor and positive (and negatives, or negative_1, ...), or query and documents (and "
    "scores), or query and positive"
)
ANSWERS = 0.5


@dataclass(frozen=True)
class Listed:
    """A query and its texts, the first of which answers it.

    Attributes:
        scores: what a teacher thinks of each text, higher is better; None without a teacher.
        group: rows of one group stand in the same relation; "" for none.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...] | None = None
    group: str = ""


def load(source: str) -> list[Listed]:
    """The lists of a file, a folder or a dataset.

    Raises:
        WrongUse: columns of another shape, a list without a text, scores that are not one finite
            number a text.
    """
    lists = [
        listed
        for number, row in enumerate(rows.load(source), 1)
        for listed in read(row, f"--data {source} row {number}")
    ]
    if not lists:
        raise WrongUse(
            f"--data {source}",
            "no query with a text",
            "rows to train on",
            "Look at the export's rows.",
        )
    return lists


def read(row: Row, where: str) -> Iterator[Listed]:
    """The lists of one row: one for each of its positives."""
    query = row.get("anchor") or row.get("query")
    group = str(row.get("group") or row.get("relation") or "")
    if not isinstance(query, str) or not (
        row.get("positive") or row.get("documents")
    ):
        raise WrongUse(
            where,
            f"columns {', '.join(row)}",
            _SHAPES,
            "Write them with `synth export DIR --to triplets` (or ranked).",
        )
    if row.get("documents"):
        yield _by_score(row, query, group, where)
        return
    positives = (
        [row["positive"]]
        if isinstance(row["positive"], str)
        else row["positive"]
    )
    wrong = tuple(_negatives(row))
    for positive in positives:
        documents = (
            str(positive),
            *(text for text in wrong if text != positive),
        )
        yield Listed(
            query,
            documents,
            _labels(row.get("label"), len(documents), where),
            group,
        )


def _by_score(row: Row, query: str, group: str, where: str) -> Listed:
    """A list of `documents`, the best scored first where there are scores."""
    documents = tuple(map(str, row["documents"]))
    scores = _scores(row.get("scores"), len(documents), where)
    if not scores:
        return Listed(query, documents, None, group)
    order = sorted(range(len(documents)), key=lambda n: -scores[n])
    return Listed(
        query,
        tuple(documents[n] for n in order),
        tuple(scores[n] for n in order),
        group,
    )


def _negatives(row: Row) -> Iterator[str]:
    listed = row.get("negatives") or []
    columns = [
        value
        for name, value in row.items()
        if (name == "negative" or name.startswith("negative_")) and value
    ]
    for value in (*listed, *columns):
        yield str(value["text"] if isinstance(value, Mapping) else value)


def _labels(
    label: float | list[float] | None, count: int, where: str
) -> tuple[float, ...] | None:
    """Scores of a row's texts from `label`: one a text, or how far the positive stands above each
    negative.
    """
    if label is None:
        return None
    listed: list[float] = label if isinstance(label, list) else [label]
    if len(listed) == count - 1:
        return (
            0.0,
            *(-margin for margin in _scores(listed, count - 1, where) or ()),
        )
    return _scores(listed, count, where)


def _scores(
    listed: Sequence[float] | None, count: int, where: str
) -> tuple[float, ...] | None:
    if listed is None:
        return None
    fits = len(listed) == count and all(
        isinstance(s, int | float) and not isinstance(s, bool) and isfinite(s)
        for s in listed
    )
    if not fits:
        raise WrongUse(
            where,
            f"scores {listed!r}"[:120],
            f"{count} finite numbers, one a text",
            "Correct the row.",
        )
    return tuple(map(float, listed))
