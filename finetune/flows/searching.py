"""The stage `search`: rows of many datasets, the nearest to a few examples of a task first
(Retrieval-Based Distillation, arXiv:2407.05463).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from finetune.core.rows import JsonObject
from finetune.flows.row_schema import SearchSpec
from synth.core.errors import WrongUse
from synth.local_models.scores import vectors
from synth.packs.shelf import require_texts

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, Any]

# Rows whose texts are vectors at once: some 10,000 texts of 384 numbers are 15 MB.
_PART = 1000


def nearest_rows(
    rows: Iterable[JsonObject],
    examples: Sequence[JsonObject],
    spec: SearchSpec,
    model: str,
    where: str,
) -> list[JsonObject]:
    """Rows with `score`, the parts of it in `scores`, and what was searched in `texts`; the highest
    score first, equal ones in the order of the rows.

    A part of a column of the examples is the largest, over the texts of a row, of the mean cosine
    to the examples' texts (-1 to 1); a part of `about` is the mean cosine to one column. The score
    is the mean of all parts. Rows without a text are left out.

    Args:
        rows: of any columns.
        examples: rows that have all columns of `spec`.
        spec: what flow.yaml says.
        model: of the vectors: `hashing`, a folder, or a name of the hub.
        where: the stage, for messages.

    Raises:
        WrongUse: no example, or an example or a row without a column that is looked at.
    """
    if not examples:
        raise WrongUse(
            where, "no example", "a few rows of the task", "Bring them."
        )
    wanted = {
        column: _mean(_column(examples, column, f"{where} other"), model)
        for column in [*spec.columns, *spec.about]
    }
    found: list[JsonObject] = []
    searchable = _searchable(rows, spec)
    while part := list(islice(searchable, _PART)):
        found += _scored(part, wanted, spec, model, where)
    return sorted(found, key=lambda row: -row["score"])


def _searchable(
    rows: Iterable[JsonObject], spec: SearchSpec
) -> Iterator[JsonObject]:
    """Rows that have a text, with all of them in `texts`."""
    skipped = {"id", *spec.skip, *spec.about.values()}
    for row in rows:
        texts = {
            column: text
            for column, value in row.items()
            if column not in skipped
            if (text := _text(value))
        }
        if texts:
            yield {**row, "texts": texts}


def _text(value: object) -> str:
    """A cell as a text: elements of a list one a line; "" of what holds no text."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    return ""


def _column(rows: Sequence[JsonObject], column: str, where: str) -> list[str]:
    """The texts of one column.

    Raises:
        WrongUse: a row without one.
    """
    require_texts(rows, [column], where)
    return [row[column] for row in rows]


def _mean(texts: Sequence[str], model: str) -> Vectors:
    """[D]: its product with a unit vector is the mean cosine to the texts."""
    mean: Vectors = vectors(texts, model).mean(axis=0)
    return mean


def _scored(
    rows: Sequence[JsonObject],
    wanted: Mapping[str, Vectors],
    spec: SearchSpec,
    model: str,
    where: str,
) -> Iterator[JsonObject]:
    """The rows with their scores."""
    import numpy as np  # noqa: PLC0415 - for those who need it

    counts = [len(row["texts"]) for row in rows]
    starts = np.cumsum([0, *counts[:-1]])
    cells = [text for row in rows for text in row["texts"].values()]
    found = vectors(cells, model)
    parts = {
        column: np.maximum.reduceat(found @ wanted[column], starts)
        for column in spec.columns
    }
    for ours, theirs in spec.about.items():
        texts = _column(rows, theirs, where)
        # Many rows are from one dataset.
        known = list(dict.fromkeys(texts))
        cosines = vectors(known, model) @ wanted[ours]
        by_text = dict(zip(known, cosines, strict=True))
        parts[ours] = np.array([by_text[text] for text in texts])
    for place, row in enumerate(rows):
        scores = {
            name: round(float(part[place]), 6) for name, part in parts.items()
        }
        mean = sum(scores.values()) / len(scores)
        yield {**row, "score": round(mean, 6), "scores": scores}
