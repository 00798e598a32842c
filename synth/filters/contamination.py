"""Drops rows that share text with named evaluation files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from synth.errors import WrongUse
from synth.filters.base import CorpusFilter
from synth.records import Row, Verdict


@dataclass(frozen=True, kw_only=True)
class Contamination(CorpusFilter):
    """Word n-grams shared with evaluation items, as GPT-3's authors looked for them (Brown et al., arXiv:2005.14165, appendix C).

    A row is dropped where it shares one n-gram of `long` words with an item, or at least `share` of the item's n-grams of
    `short` words. Items of fewer than `short` words match rows of just these words.

    Sees: all rows and the evaluation files. Costs: nothing; 100,000 rows against 10,000 items take some 5 s of CPU.

    Args:
        against: evaluation files (.jsonl, .json, .csv, .parquet), one path or several joined by `+`.
        field: the row's text; its raw reply where it lacks the field.
        column: the column of the evaluation files.
        long: words of an n-gram that is enough alone.
        short: words of an n-gram that counts with others.
        share: least share of an item's short n-grams (0 to 1).

    Reasons:
        contaminated: an evaluation item is in the row.

    Marks: `file`, `item` (its place in the file), `span` (the words that match), `share` (of the item's short n-grams).

    Example:
        >>> import json, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "test.jsonl"
        >>> item = {"question": "A train travels 270 miles in 3 hours at the same speed; how far does it go in 7 hours?"}
        >>> _ = path.write_text(json.dumps(item))
        >>> rows = [{"question": f"Please solve: {item['question']}"}, {"question": "How many pens has Ann?"}]
        >>> kept, dropped = Contamination(against=str(path)).split(rows)
        >>> len(kept), dropped[0]["reason"]
        (1, 'contaminated')
    """

    against: str
    field: str = "question"
    column: str = "question"
    long: int = 13
    short: int = 8
    share: float = 0.5

    reasons: ClassVar[dict[str, str]] = {"contaminated": "an evaluation item is in the row"}

    def __post_init__(self) -> None:
        if not 1 <= self.short <= self.long or not 0 < self.share <= 1:
            raise ValueError(
                f"short={self.short}, long={self.long}, share={self.share}; use 1 <= short <= long and a share above 0, at most 1"
            )

    @cached_property
    def items(self) -> list[tuple[str, int, str]]:
        """(file, place, text) of every evaluation item.

        Raises:
            WrongUse: a file cannot be read, or has no such column.
        """
        from synth.seeds import read_rows  # noqa: PLC0415 - only this filter reads files

        found = []
        for path in self.against.split("+"):
            for place, row in enumerate(read_rows(path)):
                if not isinstance(row.get(self.column), str):
                    todo = f"Name it: contamination:column={next(iter(row), 'NAME')}."
                    raise WrongUse(f"{path} row {place + 1}", f"columns {', '.join(row)}", f"text in {self.column!r}", todo)
                found.append((Path(path).name, place, row[self.column]))
        return found

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row."""
        texts = [self.text(row, self.field) for row in rows]
        best: dict[int, tuple[float, int, str]] = {}
        for (row, item), (count, share) in self._shared(texts).items():
            # Words in a row that share `long` of them hold at least so many short n-grams.
            if share >= self.share or count > self.long - self.short:
                span = _span(texts[row], self.items[item][2])
                if share >= self.share or len(span) >= self.long:
                    best[row] = max(best.get(row, (0.0, 0, "")), (share, -item, " ".join(span)))
        return [self._verdict(best.get(place)) for place in range(len(rows))]

    def _shared(self, texts: Sequence[str]) -> dict[tuple[int, int], tuple[int, float]]:
        """(row, item) -> how many of the item's distinct short n-grams the row holds, and which share of them that is."""
        import numpy as np  # noqa: PLC0415 - for those who need it

        from synth.filters._shingles import Vocabulary, ngrams  # noqa: PLC0415

        vocabulary = Vocabulary()
        wanted, items = ngrams(*vocabulary.ids(text for _, _, text in self.items), self.short)
        items, wanted = np.unique(np.stack([items.astype(np.uint64), wanted]), axis=1)
        sizes = np.bincount(items.astype(np.int64), minlength=len(self.items)).tolist()
        grams, rows = ngrams(*vocabulary.ids(texts), self.short)
        counts = Counter(_meet(grams, rows, wanted, items))
        return {(row, item): (count, count / sizes[item]) for (row, item), count in counts.items()}

    def _verdict(self, hit: tuple[float, int, str] | None) -> Verdict:
        if hit is None:
            return Verdict(True)
        file, place, _ = self.items[-hit[1]]
        return Verdict(False, "contaminated", {"file": file, "item": place, "span": hit[2][:300], "share": round(hit[0], 4)})


def _meet(grams: Any, rows: Any, wanted: Any, items: Any) -> list[tuple[int, int]]:
    """(row, item) once for every distinct n-gram that both hold."""
    import numpy as np  # noqa: PLC0415 - as above

    order = np.argsort(wanted, kind="stable")
    wanted, items = wanted[order], items[order]
    inside = np.isin(grams, wanted)
    rows, found = rows[inside], grams[inside]
    if not len(found):
        return []
    rows, found = np.unique(np.stack([rows.astype(np.uint64), found]), axis=1)
    low, high = np.searchsorted(wanted, found, "left"), np.searchsorted(wanted, found, "right")
    pairs = zip(rows.tolist(), low.tolist(), high.tolist(), strict=True)
    return [(int(row), int(item)) for row, start, end in pairs for item in dict.fromkeys(items[start:end].tolist())]


def _span(text: str, item: str) -> list[str]:
    """The longest run of words that both share."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - only for what is suspected

    from synth.filters._shingles import words  # noqa: PLC0415

    mine, theirs = words(text), words(item)
    match = SequenceMatcher(None, mine, theirs, autojunk=False).find_longest_match()
    return mine[match.a : match.a + match.size]
