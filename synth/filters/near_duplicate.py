"""Drops rows whose text nearly repeats another row's that is kept."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import require_count
from synth.core.records import Row, Verdict
from synth.filters.base import StreamedFilter
from synth.text.words import folded

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Of an n-gram: longer ones tell the same rows apart as exact_duplicate does.
MOST_WORDS = 1_000
# Numerals of Chinese and Japanese; a lone 一 is mostly part of another word.
_NUMERALS = re.compile("[〇零一二三四五六七八九十百千万億亿兆两兩]+")


@dataclass(frozen=True, kw_only=True)
class NearDuplicate(StreamedFilter):
    """Jaccard similarity of word n-grams, found exactly: recall and precision are 1, and no chain
    of similar rows drops a far one.

    Every dropped row is similar to a row that is kept. Of similar rows the longest stays, of
    equally long ones the one whose text has the smaller digest, so that the order of rows plays no
    part.

    Sees: all rows, of which it holds a few numbers each; n-grams lie in a temporary file. Costs:
    nothing; 100,000 texts of 50 words take some 10 s of CPU, 10,000,000 some 1,200 s and
    1.7 GB of memory.

    Args:
        field: the text that is compared; the row's raw reply where it lacks the field.
        similarity: least Jaccard similarity of a duplicate (0 to 1, 0 excluded).
        words: words of an n-gram, 1 to 1,000.
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
        require_count("words", self.words, 1, MOST_WORDS)
        if self.numbers not in ("apart", "alike"):
            raise ValueError(
                f"numbers={self.numbers!r}; use numbers apart or alike"
            )

    def judge_corpus(self, rows: Collection[Row]) -> Iterator[Verdict]:
        """One verdict a row, in their order; see the base."""
        # Numpy, for those who need it.
        import numpy as np  # noqa: PLC0415

        from synth.text.joins import Neighbours, token_sets  # noqa: PLC0415

        order = TextOrder()
        keys = array("Q")

        def texts() -> Iterator[str]:
            for row in rows:
                text = self.text(row, self.field)
                order.add(text)
                if self.numbers == "apart":
                    keys.append(_number_key(text))
                yield text

        neighbours = Neighbours(
            token_sets(texts(), self.words), self.similarity
        )
        # Of each row the kept one that it repeats, and how much; -1 for those that stay.
        twins = np.full(len(order), -1, np.int64)
        similarities = np.zeros(len(order))
        for index in order.longest_first():
            for other, similarity in neighbours.similar(index):
                if not keys or keys[other] == keys[index]:
                    twins[index] = other
                    similarities[index] = similarity
                    break
            else:
                neighbours.add(index)
        stays = Verdict(True)
        for twin, similarity in zip(twins, similarities, strict=True):
            if twin < 0:
                yield stays
            else:
                marks = {
                    "of": int(twin),
                    "similarity": round(float(similarity), 4),
                }
                yield Verdict(False, "near_duplicate", marks)


def numbers_of(text: str) -> tuple[str, ...]:
    """The numbers of a text, sorted: what tells apart tasks whose words are alike."""
    if text.isascii():
        return tuple(sorted(_NUMBER.findall(text)))
    text = folded(text)
    written = [
        numeral for numeral in _NUMERALS.findall(text) if numeral.strip("一")
    ]
    return tuple(sorted([*_NUMBER.findall(text), *written]))


def _number_key(text: str) -> int:
    """64 bits of the numbers of a text."""
    return _digest("\n".join(numbers_of(text)))


def _digest(text: str) -> int:
    """The first 64 bits of a text's digest."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big")


class TextOrder:
    """An order of texts that the rows' own cannot change: the longest first, equally long ones by
    the first 64 bits of their digests, equal ones by their places.
    """

    def __init__(self) -> None:
        self._lengths = array("q")
        self._digests = array("Q")

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """One more text; only its length and its digest are held."""
        self._lengths.append(len(text))
        self._digests.append(_digest(text))

    def longest_first(self) -> array[int]:
        """The places of the texts."""
        import numpy as np  # noqa: PLC0415 - for those who need it

        lengths = np.frombuffer(self._lengths, np.int64)
        digests = np.frombuffer(self._digests, np.uint64)
        # The last key counts first; a sort that is stable leaves equal ones by their places.
        order = np.lexsort((digests, -lengths)).astype(np.int64)
        return array("q", order.tobytes())


def by_length(texts: Iterable[str]) -> list[int]:
    """Places of texts in their `TextOrder`."""
    order = TextOrder()
    for text in texts:
        order.add(text)
    return list(order.longest_first())
