"""Rows of a user's file that are near a text: by words (BM25) or by sentence vectors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.errors import WrongUse, did_you_mean
from synth.measures import vectors
from synth.records import Row
from synth.seeds import read_rows
from synth.templates import Template, Templates

if TYPE_CHECKING:
    from synth.pack_schema import RetrieveSpec

_WORD = re.compile(r"\w+")
K1, B = 1.2, 0.75


@dataclass(frozen=True)
class Bm25:
    """Okapi BM25 (Robertson and Zaragoza 2009, equation 3.15) over lower-case words; scores are 0 or more, higher is nearer.

    >>> Bm25(("a red pen", "a blue house", "red red red")).best("red", 2)
    [(2, 0.7386), (0, 0.47)]
    """

    texts: tuple[str, ...]

    @cached_property
    def index(self) -> tuple[dict[str, list[tuple[int, int]]], list[int], float]:
        """(word -> [(text, times)], words of each text, their mean)."""
        found: dict[str, list[tuple[int, int]]] = {}
        lengths = []
        for place, text in enumerate(self.texts):
            words = _WORD.findall(text.casefold())
            lengths.append(len(words))
            for word, times in Counter(words).items():
                found.setdefault(word, []).append((place, times))
        return found, lengths, sum(lengths) / max(1, len(lengths)) or 1.0

    def best(self, text: str, most: int) -> list[tuple[int, float]]:
        """(text, score) of the nearest ones that share a word, the nearest first."""
        found, lengths, mean = self.index
        scores: dict[int, float] = {}
        for word in dict.fromkeys(_WORD.findall(text.casefold())):
            held = found.get(word, ())
            weight = log(1 + (len(lengths) - len(held) + 0.5) / (len(held) + 0.5))
            for place, times in held:
                damped = times * (K1 + 1) / (times + K1 * (1 - B + B * lengths[place] / mean))
                scores[place] = scores.get(place, 0.0) + weight * damped
        return [(place, round(score, 4)) for place, score in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:most]]


class Shelf:
    """The rows that a pack retrieves from.

    Raises:
        WrongUse: no file, or rows without the field.
    """

    def __init__(self, spec: RetrieveSpec, folder: Path) -> None:
        self.spec = spec
        if not spec.file:
            raise WrongUse("retrieve.file", "none", "a file to retrieve from", "Give it: --set retrieve.file=FILE.")
        beside = folder / spec.file  # a pack may bring a sample of its own
        self.rows = list(read_rows(beside if beside.is_file() else spec.file))
        for place, row in enumerate(self.rows, 1):
            if not isinstance(row.get(spec.field), str):
                raise WrongUse(
                    f"{spec.file} row {place}", f"columns {', '.join(row)}", f"text in {spec.field!r}", did_you_mean(spec.field, row)
                )
        self.texts = tuple(str(row[spec.field]) for row in self.rows)
        self.show: Template | None = Templates().compile(spec.show, "retrieve.show") if spec.show else None

    @cached_property
    def bm25(self) -> Bm25:
        """The index of words."""
        return Bm25(self.texts)

    @cached_property
    def table(self) -> Any:
        """[N, D] unit vectors of the texts."""
        return vectors(self.texts, self.spec.by)

    def near(self, fields: Row) -> list[str]:
        """The nearest rows as texts; a row that says just what the seed says is passed over."""
        text = str(fields.get(self.spec.query) or "")
        found = [place for place in self._ranked(text) if self.texts[place].strip().casefold() != text.strip().casefold()]
        return [self._shown(self.rows[place]) for place in found[: self.spec.most]]

    def _ranked(self, text: str) -> Sequence[int]:
        most = 2 * self.spec.most + 10
        if self.spec.by == "bm25":
            return [place for place, _ in self.bm25.best(text, most)]
        cosines = self.table @ vectors([text], self.spec.by)[0]
        return [int(place) for place in (-cosines).argsort(kind="stable")[:most]]

    def _shown(self, row: Row) -> str:
        return self.show.render(row) if self.show else str(row[self.spec.field])
