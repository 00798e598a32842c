"""Hard negatives from a corpus: texts that a search finds near a query though they do not answer
it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Fields, Row
from synth.search.index import BY_WORDS, Hit, Index, open_index
from synth.text.words import plain, words

# Rows that are looked up together.
_PART = 1024


@dataclass(frozen=True, kw_only=True)
class Mining:
    """How negatives are found.

    Attributes:
        by: searches, each `bm25` or an encoder; their negatives are taken in turns.
        count: most negatives a row.
        window: ranks that may be taken, the first rank is 0; right answers are not counted.
        pick: which of the window: the `top` ones, `random` ones, or from the `bottom`.
        margin: a text whose score is above this share of the positive's own is passed over: it may
            well answer too (de Souza P. Moreira et al., NV-Retriever, arXiv:2407.15831, section
            3.2, has 0.95); None to take it.
        seed: of `random`.
    """

    by: Sequence[str] = ("bm25",)
    count: int = 4
    window: tuple[int, int] = (0, 30)
    pick: Literal["top", "random", "bottom"] = "top"
    margin: float | None = 0.95
    seed: int = 0


class Miner:
    """Searches one corpus.

    Args:
        corpus: the texts.
        mining: how.

    Attributes:
        counts: rows, negatives by search, and how many texts were passed over as `too_near` or as
            `positive`.

    Example:
        >>> corpus = [
        ...     "The bell of Quay is rung by Eve.",
        ...     "The bell of Port is rung by Fay.",
        ...     "Rain fell all day.",
        ... ]
        >>> row = {"query": "who rings the bell of Port", "positive": corpus[1]}
        >>> next(Miner(corpus, Mining(margin=None)).rows([row]))["negatives"]
        [{'text': 'The bell of Quay is rung by Eve.', 'by': 'bm25', 'rank': 0, 'score': 0.5924}]
    """

    def __init__(self, corpus: Sequence[str], mining: Mining) -> None:
        if not corpus:
            raise WrongUse(
                "--corpus",
                "no texts",
                "texts to search",
                "Look at --field.",
            )
        self.corpus = list(dict.fromkeys(corpus))
        self.mining = mining
        self.indexes: dict[str, Index] = {
            by: open_index(self.corpus, by) for by in mining.by
        }
        self.places = {text: index for index, text in enumerate(self.corpus)}
        self.counts: dict[str, int] = {
            "rows": 0,
            **dict.fromkeys(mining.by, 0),
            "too_near": 0,
            "positive": 0,
        }

    def rows(
        self,
        rows: Iterable[Row],
        query: str = "query",
        positive: str = "positive",
    ) -> Iterator[Fields]:
        """Each row with `negatives`: a list of {text, by, rank, score}, the nearest first of each
        search.

        Args:
            rows: with a query and one positive text or a list of them.
            query: its column.
            positive: its column.

        Raises:
            WrongUse: a row without them.
        """
        part: list[Row] = []
        for number, row in enumerate(rows, 1):
            for name in (query, positive):
                if not row.get(name):
                    raise WrongUse(
                        f"row {number}",
                        f"columns {', '.join(row)}",
                        f"a {name!r}",
                        did_you_mean(name, row),
                    )
            part.append(row)
            if len(part) == _PART:
                yield from self._part(part, query, positive)
                part = []
        yield from self._part(part, query, positive)

    def _part(
        self, rows: list[Row], query: str, positive: str
    ) -> Iterator[Fields]:
        queries = [str(row[query]) for row in rows]
        most = min(len(self.corpus), self.mining.window[1] + 20)
        hits_by_index = {
            by: index.best(queries, most) for by, index in self.indexes.items()
        }
        for number, row in enumerate(rows):
            given = row[positive]
            if not isinstance(given, list | tuple):
                given = [given]
            right = {_content_of(text): str(text) for text in given}
            each = [
                self._chosen(by, hits[number], right, queries[number])
                for by, hits in hits_by_index.items()
            ]
            self.counts["rows"] += 1
            negatives = self._in_turns(each)
            for negative in negatives:
                self.counts[negative["by"]] += 1
            yield {**row, "negatives": negatives}

    def _chosen(
        self, by: str, hits: list[Hit], right: Mapping[str, str], query: str
    ) -> list[Fields]:
        """What one search offers for one query."""
        own = [
            score
            for index, score in hits
            if _content_of(self.corpus[index]) in right
        ]
        limit = self._limit(by, own, query, right)
        offered: list[Fields] = []
        for index, score in hits:
            if _content_of(self.corpus[index]) in right:
                self.counts["positive"] += 1
            elif limit is not None and score > limit:
                self.counts["too_near"] += 1
            else:
                offered.append(
                    {
                        "text": self.corpus[index],
                        "by": by,
                        "rank": len(offered),
                        "score": round(score, 4),
                    }
                )
        first, last = self.mining.window
        window = offered[first:last]
        if self.mining.pick == "random":
            random.Random(f"{self.mining.seed} {by} {query}").shuffle(window)
        return window[::-1] if self.mining.pick == "bottom" else window

    def _limit(
        self, by: str, own: list[float], query: str, right: Mapping[str, str]
    ) -> float | None:
        """The score from which on a text may well answer too."""
        if self.mining.margin is None:
            return None
        # the positive is not among the nearest, or not in the corpus: it is scored by itself
        if not own:
            alone = (
                open_index(tuple(right.values()), by)
                if by not in BY_WORDS
                else None
            )
            own = (
                [score for _, score in alone.best([query], 1)[0]]
                if alone
                else []
            )
        return self.mining.margin * max(own) if own else None

    def _in_turns(self, each: list[list[Fields]]) -> list[Fields]:
        """One of each search after the other, each text once, until there are enough."""
        taken: dict[str, Fields] = {}
        for turn in range(max(map(len, each), default=0)):
            for offered in each:
                if turn < len(offered) and len(taken) < self.mining.count:
                    taken.setdefault(
                        _content_of(offered[turn]["text"]), offered[turn]
                    )
        return list(taken.values())


def _content_of(text: Any) -> str:
    """What a text says: its words, or all of it where it has none."""
    return " ".join(words(str(text))) or plain(text)


def near_pairs(
    rows: Iterable[Row], *, reach: int = 5, most: int = 16, seed: int = 0
) -> Iterator[Fields]:
    """Pairs of texts that stand at most `reach` places apart in a list, for a judge of pairs
    (PairDistill, arXiv:2410.01383, section 3.2).

    Args:
        rows: with `query` and `documents`, the best first, or `scores` that say so.
        reach: largest difference of ranks.
        most: pairs of one query, drawn where there are more; those of a query come one after the
            other.
        seed: of the draw.

    Yields:
        {query, first, second, ranks}.

    Raises:
        WrongUse: a row without query or documents, or with other scores.

    >>> [
    ...     pair["ranks"]
    ...     for pair in near_pairs([{"query": "q", "documents": ["a", "b", "c"]}], reach=1)
    ... ]
    [[0, 1], [1, 2]]
    """
    for number, row in enumerate(rows, 1):
        documents = row.get("documents")
        if not row.get("query") or not isinstance(documents, list | tuple):
            raise WrongUse(
                f"row {number}",
                f"columns {', '.join(row)}",
                "query and documents",
                "Write them with `synth export DIR --to ranked`.",
            )
        scores = row.get("scores") or [
            -index for index in range(len(documents))
        ]
        fits = len(scores) == len(documents)
        if not fits or not all(map(_is_number, scores)):
            raise WrongUse(
                f"row {number}",
                f"{len(scores)} scores of {len(documents)} documents: {scores!r}"[
                    :160
                ],
                "a number for each document",
                "Correct them, or leave `scores` out where documents stand in order.",
            )
        order = sorted(range(len(documents)), key=lambda index: -scores[index])
        near = [
            (i, j)
            for i in range(len(order))
            for j in range(i + 1, min(i + reach + 1, len(order)))
        ]
        drawn = random.Random(f"{seed} {row['query']}").sample(
            near, min(most, len(near))
        )
        for i, j in sorted(drawn):
            yield {
                "query": row["query"],
                "first": documents[order[i]],
                "second": documents[order[j]],
                "ranks": [i, j],
            }


def _is_number(score: Any) -> bool:
    return isinstance(score, int | float) and score == score  # noqa: PLR0124


def report(counts: Mapping[str, int]) -> str:
    """What was found, in a line."""
    negatives = ", ".join(
        f"{count:,} by {by}"
        for by, count in counts.items()
        if by not in ("rows", "too_near", "positive")
    )
    over = f"{counts['too_near']:,} too near the positive, {counts['positive']:,} right ones"
    return (
        f"{counts['rows']:,} rows, negatives: {negatives}; passed over: {over}"
    )
