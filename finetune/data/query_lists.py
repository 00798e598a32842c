"""Queries with lists of texts, from any of the shapes in which rows for retrievers and rankers
come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.row_numbers import LARGEST, beyond, is_usable
from synth.core.errors import WrongUse
from synth.core.records import Row

_SHAPES = (
    "anchor and positive (and negatives, or negative_1, ...), or query and documents (and "
    "scores), or query and positive"
)
ANSWERS = 0.5
# Of what a loss learns something: several texts of a list, texts of a list or of a batch, one text.
Least = Literal["list", "batch", "text"]


@dataclass(frozen=True)
class Listed:
    """A query and its texts, the first of which answers it.

    Attributes:
        scores: what a teacher thinks of each text, higher is better; None without a teacher.
        group: rows of one group stand in the same relation; "" for none.
        answer: the right answer to the query, in a few words; "" where the row has none.
        answers: what each text itself answers, where the texts are worked examples; () where the
            row does not say.
        task: what kind of question the query is; "" where the row does not say.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...] | None = None
    group: str = ""
    answer: str = ""
    task: str = ""
    answers: tuple[str, ...] = ()


def load(source: str) -> list[Listed]:
    """The lists of a file, a folder or a dataset.

    Raises:
        WrongUse: columns of another shape, a list without a text, scores that are not one finite
            number a text.
    """
    by_row = each_row(
        rows.load(source),
        lambda number, row: [*read(row, f"--input {source} row {number}")],
    )
    lists = [listed for of_row in by_row for listed in of_row]
    if not lists:
        raise WrongUse(
            f"--input {source}",
            "no query with a text",
            "rows to train on",
            "Look at the export's rows.",
        )
    return lists


def read(row: Row, where: str) -> Iterator[Listed]:
    """The lists of one row: one for each of its positives."""
    query = _filled(row, ("anchor", "query"), where)
    if not isinstance(query, str):
        raise WrongUse(
            where,
            f"the query {query!r:.80}",
            "a text",
            "Write it as text, or take the row out.",
        )
    _filled(row, ("documents", "positive"), where)
    group = str(row.get("group") or row.get("relation") or "")
    answer = row.get("answer")
    known = answer if isinstance(answer, str) else ""
    task = str(row.get("task") or "")
    if row.get("documents"):
        listed = _by_score(row, query, group, where)
        yield replace(listed, answer=known, task=task)
        return
    positive_texts = (
        row["positive"]
        if isinstance(row["positive"], list)
        else [row["positive"]]
    )
    wrong = tuple(_negatives(row, where))
    for positive in _texts(positive_texts, f"{where} positive"):
        documents = (
            positive,
            *(text for text in wrong if text != positive),
        )
        yield Listed(
            query,
            documents,
            _labels(row.get("label"), len(documents), where),
            group,
            known,
            task,
        )


def _filled(row: Row, names: Sequence[str], where: str) -> object:
    """The first of some columns that holds something.

    Raises:
        WrongUse: the row has none of them, or nothing stands in any.
    """
    there = [name for name in names if name in row]
    if not there:
        raise WrongUse(
            where,
            f"columns {', '.join(row)}",
            _SHAPES,
            "Write them with `synth export DIR --to triplets` (or ranked).",
        )
    for name in there:
        value: object = row[name]
        is_blank = isinstance(value, str) and not value.strip()
        if value and not is_blank:
            return value
    raise WrongUse(
        f"{where} {there[0]}",
        f"{row[there[0]]!r:.80}",
        "a text, or a list of texts",
        "Fill it in, or take the row out.",
    )


def _by_score(row: Row, query: str, group: str, where: str) -> Listed:
    """A list of `documents`, the best scored first where there are scores."""
    documents = tuple(_texts(row["documents"], f"{where} documents"))
    answers = tuple(_texts(row.get("answers") or [], f"{where} answers"))
    if answers and len(answers) != len(documents):
        raise WrongUse(
            where,
            f"{len(answers)} answers, {len(documents)} documents",
            "an answer for each text",
            "Correct the row.",
        )
    scores = _scores(row.get("scores"), len(documents), where)
    listed = Listed(query, documents, None, group, answers=answers)
    if not scores:
        return listed
    order = sorted(range(len(documents)), key=lambda n: -scores[n])
    return replace(
        listed,
        documents=tuple(documents[n] for n in order),
        scores=tuple(scores[n] for n in order),
        answers=tuple(answers[n] for n in order) if answers else (),
    )


def _negatives(row: Row, where: str) -> Iterator[str]:
    yield from _texts(row.get("negatives") or [], f"{where} negatives")
    for name, value in row.items():
        if (name == "negative" or name.startswith("negative_")) and value:
            yield _text(value, f"{where} {name}")


def _texts(listed: object, where: str) -> list[str]:
    """The texts of a list."""
    if not isinstance(listed, list | tuple):
        raise WrongUse(
            where,
            f"{listed!r}"[:120],
            "a list of texts",
            "Write it as a list.",
        )
    return [_text(value, where) for value in listed]


def _text(value: object, where: str) -> str:
    """A text, or that of a mined one, `{text: ...}`; a number is the text that it is written as."""
    given = value.get("text") if isinstance(value, Mapping) else value
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise WrongUse(
            where,
            f"{value!r}"[:120],
            "a text",
            "Write it as text, or take it out.",
        )
    return str(given)


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
    fits = isinstance(listed, list | tuple) and len(listed) == count
    if not fits or not all(map(is_usable, listed)):
        todo = "Correct the row."
        if fits:
            todo = beyond(next(s for s in listed if not is_usable(s)))
        raise WrongUse(
            where,
            f"scores {listed!r}"[:120],
            f"{count} finite numbers, one a text, at most {LARGEST:g} on both sides of 0",
            todo,
        )
    return tuple(map(float, listed))
