"""Queries with the texts that answer them and those that only seem to, as a pack's `retrieval`
export names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite, nan
from typing import Any

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.exports.base import spec_of
from synth.packs.pack import Pack
from synth.packs.templates import NOTHING, Template
from synth.runs.publisher import RunFolder
from synth.text.words import plain

# Of reciprocal rank fusion, as Cormack, Clarke and Buettcher 2009 have it.
RRF_K = 60
ANSWERS = 0.5


@dataclass(frozen=True)
class Document:
    """A text for a query: its grade (at least 0.5 answers the query, where grades are not fused
    ranks) and how it was found.
    """

    text: str
    grade: float
    how: str


@dataclass(frozen=True)
class Listing:
    """All texts of a query, in the order of the pack; `fused` where grades are reciprocal ranks,
    which only order them.
    """

    id: str
    query: str
    documents: tuple[Document, ...]
    fused: bool
    group: str = ""

    def sides(self) -> tuple[list[Document], list[Document]]:
        """(what answers, what does not, the worst first). Of fused ranks the best text answers, the
        others do not.
        """
        order = sorted(self.documents, key=lambda document: -document.grade)
        if self.fused:
            return order[:1], order[:0:-1]
        return [d for d in order if d.grade >= ANSWERS], [
            d for d in reversed(order) if d.grade < ANSWERS
        ]


def listings(run: RunFolder, pack: Pack, where: str) -> Iterator[Listing]:
    """The texts of each query of a run: kept rows with the same query that stand together are one
    list, in which a text counts once.

    Raises:
        WrongUse: the pack has no `retrieval` export, or a grade is not a number.
    """
    spec = spec_of(pack, "retrieval", where)
    sides_by_kind = pack.exports["retrieval"]
    specs = {
        kind: sides for kind, sides in sides_by_kind.items() if kind != "query"
    }
    eaches = {kind: document.each for kind, document in spec.documents.items()}
    valued = (pack.values(row) for row in run.rows())
    for query, group in groupby(
        valued, key=sides_by_kind["query"]["text"].render
    ):
        rows = list(group)
        graded = [
            one
            for values in rows
            for kind, sides in specs.items()
            for one in _graded(values, eaches[kind], sides, where)
        ]
        fused = any(len(grades) > 1 for _, grades, _ in graded)
        documents = tuple(
            _once(
                _fuse(graded) if fused else graded, mean=spec.combine == "mean"
            )
        )
        yield Listing(
            str(rows[0]["id"]),
            query,
            documents,
            fused,
            sides_by_kind["query"]["group"].render(rows[0]).strip(),
        )


def _graded(
    values: Row, each: str | None, sides: Mapping[str, Template], where: str
) -> Iterator[tuple[str, list[float], str]]:
    """(text, grades, how) of what one kind of document renders to."""
    for element in elements(values, each):
        seen = {**values, **element}
        text = sides["text"].render(seen).strip()
        if text and sides["when"].render(seen).strip() not in NOTHING:
            grades = [
                template.render(seen)
                for side, template in sides.items()
                if side.startswith("grade ")
            ]
            yield (
                text,
                [_number(grade, where) for grade in grades],
                sides["how"].render(seen).strip(),
            )


def elements(values: Row, each: str | None) -> Iterator[Fields]:
    """What templates see of each element of a list: its fields where it has some, else `item`; and
    `index`.
    """
    head, _, inner = (each or "").partition(".")
    listed = _list(values.get(head), head) if each else [{}]
    if inner:
        named = [one for one in listed if isinstance(one, Mapping)]
        listed = [
            deep for one in named for deep in _list(one.get(inner), str(each))
        ]
    for index, element in enumerate(listed):
        yield {
            "index": index,
            "item": element,
            **(element if isinstance(element, Mapping) else {}),
        }


def _list(value: Any, name: str) -> list[Any]:
    """A list; nested columns of seeds are text in a run's folder."""
    try:
        elements = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        elements = value
    if elements is None:
        return []
    if not isinstance(elements, list | tuple):
        raise WrongUse(
            f"a row's {name}",
            f"{elements!r}"[:80],
            "a list",
            "Name another field in the pack's export, or leave such rows out.",
        )
    return list(elements)


def _number(text: str, where: str) -> float:
    try:
        grade = float(text)
    except ValueError:
        grade = nan
    if not isfinite(grade):
        raise WrongUse(
            where,
            f"a grade that reads {text[:40]!r}",
            "a number",
            "Correct the pack's retrieval export.",
        )
    return grade


def _fuse(
    graded: list[tuple[str, list[float], str]],
) -> list[tuple[str, list[float], str]]:
    """One grade each, the sum of reciprocal ranks over all rankings."""
    rankings = zip(*(grades for _, grades, _ in graded), strict=True)
    fused = rrf(list(rankings))
    return [
        (text, [grade], how)
        for (text, _, how), grade in zip(graded, fused, strict=True)
    ]


def rrf(rankings: Sequence[Sequence[float]], k: int = RRF_K) -> list[float]:
    """Reciprocal rank fusion (Cormack et al. 2009): the sum of 1 / (k + rank) over rankings, each
    given as scores, higher is better.

    Equal scores share their mean rank.

    >>> [round(value, 5) for value in rrf([[3.0, 1.0, 2.0], [5.0, 5.0, 1.0]])]
    [0.03265, 0.03213, 0.032]
    """
    fused = [0.0] * len(rankings[0])
    for scores in rankings:
        for item in range(len(fused)):
            fused[item] += 1 / (k + _rank(scores, scores[item]))
    return fused


def _rank(scores: Sequence[float], score: float) -> float:
    return (
        sum(other > score for other in scores)
        + (sum(other == score for other in scores) + 1) / 2
    )


def _once(
    graded: list[tuple[str, list[float], str]], *, mean: bool
) -> Iterator[Document]:
    """Each text once, where it first stands, with its best grade (and how that came) or their
    mean.
    """
    documents: dict[str, list[Document]] = {}
    for text, grades, how in graded:
        documents.setdefault(plain(text), []).append(
            Document(text, grades[0], how)
        )
    for same in documents.values():
        best = max(same, key=lambda document: document.grade)
        grade = (
            sum(document.grade for document in same) / len(same)
            if mean
            else best.grade
        )
        yield Document(same[0].text, grade, best.how)
