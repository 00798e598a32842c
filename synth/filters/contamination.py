"""Drops rows that share text with named evaluation files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from synth.core.errors import WrongUse
from synth.core.records import Row, Verdict
from synth.filters.base import CorpusFilter
from synth.text.words import amount, words

# Share or similarity, minus the item's number, the words that tell.
Hit = tuple[float, int, str]


@dataclass(frozen=True, kw_only=True)
class Contamination(CorpusFilter):
    """Word n-grams shared with evaluation items, as GPT-3's authors looked for them (Brown et al.,
    arXiv:2005.14165, appendix C).

    A row is dropped where it shares one n-gram of `long` words with an item, or at least `share` of
    the item's n-grams of `short` words. Items of fewer than `short` words match rows of just these
    words.

    Sees: all rows and the evaluation files. Costs: nothing; 100,000 rows against 10,000 items take
    some 5 s of CPU.

    Args:
        against: evaluation files (.jsonl, .json, .csv, .parquet), one path or several joined by
            `+`.
        field: the row's text; its raw reply where it lacks the field.
        column: the column of the evaluation files.
        long: words of an n-gram that is enough alone.
        short: words of an n-gram that counts with others.
        share: least share of an item's short n-grams (0 to 1).
        fuzzy: also drop rows whose word 3-grams have at least this Jaccard similarity (0 to 1) with
            an item's; None looks at runs only.
        embedding: also drop rows whose sentence vector is near an item's: a folder or a name of the
            hub, or `hashing`.
        similarity: least cosine (-1 to 1) of a near vector.

    Reasons:
        contaminated: an evaluation item is in the row.
        fuzzy_match: the row says much the same as an item.
        near_item: the row's vector is near an item's.

    Marks: `file`, `item` (its place in the file), `span` (the words that match, or the item's own),
        `share` (of the item's short n-grams, or the similarity).

    Example:
        >>> import json, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "test.jsonl"
        >>> item = {
        ...     "question": "A train travels 270 miles in 3 hours at the same speed; "
        ...     "how far does it go in 7 hours?"
        ... }
        >>> _ = path.write_text(json.dumps(item))
        >>> rows = [
        ...     {"question": f"Please solve: {item['question']}"},
        ...     {"question": "How many pens has Ann?"},
        ... ]
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
    fuzzy: float | None = None
    embedding: str | None = None
    similarity: float = 0.9

    needs_alone: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "contaminated": "an evaluation item is in the row",
        "fuzzy_match": "much the same as an item",
        "near_item": "near an item's",
    }

    def __post_init__(self) -> None:
        if not 1 <= self.short <= self.long or not 0 < self.share <= 1:
            raise ValueError(
                f"short={self.short}, long={self.long}, share={self.share}; use 1 <= short <= "
                "long and a share above 0, at most 1"
            )

    @cached_property
    def items(self) -> list[tuple[str, int, str]]:
        """(file, place, text) of every evaluation item.

        Raises:
            WrongUse: a file cannot be read, or has no such column.
        """
        from synth.inputs.seeds import read_rows  # noqa: PLC0415 - only this filter reads files

        items = []
        for path in self.against.split("+"):
            for index, row in enumerate(read_rows(path)):
                if not isinstance(row.get(self.column), str):
                    todo = f"Name it: contamination:column={next(iter(row), 'NAME')}."
                    raise WrongUse(
                        f"{path} row {index + 1}",
                        f"columns {', '.join(row)}",
                        f"text in {self.column!r}",
                        todo,
                    )
                items.append((Path(path).name, index, row[self.column]))
        return items

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        texts = [self.text(row, self.field) for row in rows]
        best: dict[int, Hit] = {}
        for (row, item), (count, share) in self._shared(texts).items():
            # Words in a row that share `long` of them hold at least so many short n-grams.
            if share >= self.share or count > self.long - self.short:
                span = _span(texts[row], self.items[item][2])
                if share >= self.share or amount(span) >= self.long:
                    best[row] = max(
                        best.get(row, (0.0, 0, "")),
                        (share, -item, " ".join(span)),
                    )
        verdicts = [
            self._verdict("contaminated", best.get(index))
            for index in range(len(rows))
        ]
        for reason, look in (
            ("fuzzy_match", self._fuzzy),
            ("near_item", self._near),
        ):
            left = [
                index for index, verdict in enumerate(verdicts) if verdict.keep
            ]
            for index, hit in zip(
                left, look([texts[index] for index in left]), strict=True
            ):
                verdicts[index] = self._verdict(reason, hit)
        return verdicts

    def _fuzzy(self, texts: Sequence[str]) -> list[Hit | None]:
        """The item of the most similar word 3-grams, for each text that has one."""
        if self.fuzzy is None:
            return [None] * len(texts)
        # Numpy, for those who need it.
        from synth.text.joins import Neighbours, token_sets  # noqa: PLC0415

        item_texts = [item for _, _, item in self.items]
        index = Neighbours(token_sets([*item_texts, *texts], 3), self.fuzzy)
        for item in range(len(item_texts)):
            index.add(item)
        hits: list[Hit | None] = []
        for index_of_text in range(
            len(item_texts), len(item_texts) + len(texts)
        ):
            # Of equally similar items the first.
            similar = ((s, -item) for item, s in index.similar(index_of_text))
            nearest = max(similar, default=None)
            if nearest is None:
                hits.append(None)
            else:
                similarity, negative = nearest
                hits.append((similarity, negative, item_texts[-negative]))
        return hits

    def _near(self, texts: Sequence[str]) -> list[Hit | None]:
        """The item of the nearest vector, for each text that has one near enough."""
        if self.embedding is None or not texts:
            return [None] * len(texts)
        from synth.local_models.scores import vectors  # noqa: PLC0415 - as above

        items = vectors([text for _, _, text in self.items], self.embedding)
        mine = vectors(texts, self.embedding)
        nearest: list[Hit | None] = []
        for start in range(0, len(mine), 1024):
            cosines = mine[start : start + 1024] @ items.T
            best = cosines.argmax(axis=1).tolist()
            nearest += [
                (float(cosines[n, i]), -i, self.items[i][2])
                if cosines[n, i] >= self.similarity
                else None
                for n, i in enumerate(best)
            ]
        return nearest

    def _shared(
        self, texts: Sequence[str]
    ) -> dict[tuple[int, int], tuple[int, float]]:
        """(row, item) -> how many of the item's distinct short n-grams the row holds, and which
        share of them that is.
        """
        import numpy as np  # noqa: PLC0415 - for those who need it

        from synth.text.shingles import Lengths, Vocabulary, ngrams  # noqa: PLC0415

        vocabulary = Vocabulary()
        lengths = Lengths.long(self.short)
        theirs, ends = vocabulary.ids(text for _, _, text in self.items)
        mine, mine_ends = vocabulary.ids(texts)
        wanted, items = ngrams(
            theirs, ends, vocabulary.lengths(theirs, lengths)
        )
        items, wanted = np.unique(
            np.stack([items.astype(np.uint64), wanted]), axis=1
        )
        sizes = np.bincount(
            items.astype(np.int64), minlength=len(self.items)
        ).tolist()
        grams, rows = ngrams(
            mine,
            mine_ends,
            vocabulary.lengths(mine, lengths),
        )
        counts = Counter(_meet(grams, rows, wanted, items))
        return {
            (row, item): (count, count / sizes[item])
            for (row, item), count in counts.items()
        }

    def _verdict(
        self,
        reason: str,
        hit: Hit | None,
    ) -> Verdict:
        if hit is None:
            return Verdict(True)
        file, item, _ = self.items[-hit[1]]
        return Verdict(
            False,
            reason,
            {
                "file": file,
                "item": item,
                "span": hit[2][:300],
                "share": round(hit[0], 4),
            },
        )


def _meet(
    grams: Any,
    rows: Any,
    wanted: Any,
    items: Any,
) -> list[tuple[int, int]]:
    """(row, item) once for every distinct n-gram that both hold."""
    import numpy as np  # noqa: PLC0415 - as above

    order = np.argsort(wanted, kind="stable")
    wanted = wanted[order]
    items = items[order]
    inside = np.isin(grams, wanted)
    rows = rows[inside]
    grams_of_row = grams[inside]
    if not len(grams_of_row):
        return []
    rows, grams_of_row = np.unique(
        np.stack([rows.astype(np.uint64), grams_of_row]), axis=1
    )
    low = np.searchsorted(wanted, grams_of_row, "left")
    high = np.searchsorted(wanted, grams_of_row, "right")
    pairs = zip(
        rows.tolist(),
        low.tolist(),
        high.tolist(),
        strict=True,
    )
    return [
        (int(row), int(item))
        for row, start, end in pairs
        for item in dict.fromkeys(items[start:end].tolist())
    ]


def _span(text: str, item: str) -> list[str]:
    """The longest run of words that both share."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - only for what is suspected

    mine = words(text)
    theirs = words(item)
    match = SequenceMatcher(
        None,
        mine,
        theirs,
        autojunk=False,
    ).find_longest_match()
    return mine[match.a : match.a + match.size]
