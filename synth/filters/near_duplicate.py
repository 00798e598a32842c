"""Drops rows whose text nearly repeats another row's that is kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.filters.base import CorpusFilter
from synth.text.words import folded

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Numerals of Chinese and Japanese; a lone 一 is mostly part of another word.
_NUMERALS = re.compile("[〇零一二三四五六七八九十百千万億亿兆两兩]+")


@dataclass(frozen=True, kw_only=True)
class NearDuplicate(CorpusFilter):
    """Jaccard similarity of word n-grams, found exactly: recall and precision are 1, and no chain
    of similar rows drops a far one.

    Every dropped row is similar to a row that is kept. Of similar rows the longest stays, of
    equally long ones the one whose text has the smaller digest, so that the order of rows plays no
    part.

    Sees: all rows. Costs: nothing; 100,000 texts of 50 words take some 10 s of CPU and 400 MB.

    Args:
        field: the text that is compared; the row's raw reply where it lacks the field.
        similarity: least Jaccard similarity of a duplicate (0 to 1, 0 excluded).
        words: words of an n-gram.
        numbers: `apart` keeps texts with other numbers ("270 miles", "360 miles"); `alike` does not
            look.

    Reasons:
        near_duplicate: a kept row is similar.

    Marks: `of` (place of the kept row among the rows), `similarity`.

    Example:
        >>> rows = [
        ...     {"question": f"Ann has 3 red pens and {n} blue pens in her bag. How many?"}
        ...     for n in (4, 4, 9)
        ... ]
        >>> kept, dropped = NearDuplicate(field="question").split(rows)
        >>> len(kept), dropped[0]["reason"]
        (2, 'near_duplicate')
    """

    field: str = "question"
    similarity: float = 0.8
    words: int = 3
    numbers: str = "apart"

    needs_alone: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "near_duplicate": "a kept row is similar"
    }

    def __post_init__(self) -> None:
        if not 0 < self.similarity <= 1:
            raise ValueError(
                f"similarity={self.similarity}; use a share above 0, at most 1"
            )
        if self.words < 1 or self.numbers not in ("apart", "alike"):
            raise ValueError(
                f"words={self.words}, numbers={self.numbers!r}; use at least one word, and "
                "numbers apart or alike"
            )

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        # Numpy, for those who need it.
        from synth.text.shingles import Neighbours, shingle  # noqa: PLC0415

        texts = [self.text(row, self.field) for row in rows]
        neighbours = Neighbours(shingle(texts, self.words), self.similarity)
        keys = [
            numbers_of(text) if self.numbers == "apart" else ()
            for text in texts
        ]
        verdicts = [Verdict(True)] * len(rows)
        for index in by_length(texts):
            twin = (
                next(
                    (
                        (o, s)
                        for o, s in neighbours.similar(index)
                        if keys[o] == keys[index]
                    ),
                    None,
                )
                if texts[index]
                else None
            )
            if twin is None:
                neighbours.add(index)
            else:
                verdicts[index] = Verdict(
                    False,
                    "near_duplicate",
                    {"of": twin[0], "similarity": round(twin[1], 4)},
                )
        return verdicts


def numbers_of(text: str) -> tuple[str, ...]:
    """The numbers of a text, sorted: what tells apart tasks whose words are alike."""
    if text.isascii():
        return tuple(sorted(_NUMBER.findall(text)))
    text = folded(text)
    written = [
        numeral for numeral in _NUMERALS.findall(text) if numeral.strip("一")
    ]
    return tuple(sorted([*_NUMBER.findall(text), *written]))


def by_length(texts: Sequence[str]) -> list[int]:
    """Places of texts, the longest first, equally long ones by their digests: an order that the
    rows' own cannot change.
    """
    return sorted(
        range(len(texts)),
        key=lambda p: (
            -len(texts[p]),
            hashlib.sha256(texts[p].encode("utf-8", "replace")).digest(),
            p,
        ),
    )
