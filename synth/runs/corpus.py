"""Rows of a folder before filters that see all of them: neither rows nor verdicts are held."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson

from synth.core.records import Fields, Row
from synth.filters.base import CorpusFilter, Filter, one_each
from synth.runs.batches import batches, count_of, rows_of

# The verdicts on one row as its `meta` holds them, and what a dropped row says of why.
Judged = tuple[list[Fields], Fields]


class Corpus(Collection[Row]):
    """Those rows of a folder that are still there, from the disk each time.

    Args:
        folder: with files of rows.
        columns: those to read; ones that a file lacks are left out.
        stays: whether each row is still there, 1 or 0.
    """

    def __init__(
        self, folder: Path, columns: Sequence[str], stays: bytearray
    ) -> None:
        self.folder = folder
        self.columns = columns
        self.stays = stays

    def __len__(self) -> int:
        return sum(self.stays)

    def __iter__(self) -> Iterator[Row]:
        rows = rows_of(self.folder, self.columns)
        for row, stays in zip(rows, self.stays, strict=True):
            if stays:
                yield row

    def __contains__(self, row: object) -> bool:
        return any(row == other for other in self)


def judged(filters: Sequence[Filter], folder: Path) -> Iterator[Judged]:
    """What the filters say of each row, in the rows' order; the next one sees what one leaves.

    Args:
        filters: that see all rows.
        folder: with files of rows, `reply` among their columns; verdicts lie beside it while this
            works.
    """
    count = count_of(folder)
    stays = bytearray(b"\x01" * count)
    seen = []
    files = []
    for number, part in enumerate(filters):
        file = folder.with_name(f"{folder.name}.{number}.verdicts")
        seen.append(bytes(stays))
        files.append(file)
        corpus = Corpus(folder, _columns_for(part, folder), stays)
        _judge(part, corpus, file)
    with ExitStack() as stack:
        lines = [stack.enter_context(file.open("rb")) for file in files]
        for place in range(count):
            verdicts = []
            leaves: Fields = {}
            for was_there, words in zip(seen, lines, strict=True):
                if was_there[place]:
                    verdict, leaves = orjson.loads(words.readline())
                    verdicts.append(verdict)
            yield verdicts, leaves
    for file in files:
        file.unlink()


def _columns_for(part: Filter, folder: Path) -> list[str]:
    """The columns that a filter reads, and the replies, which are long, where it may look at
    them.
    """
    names = list(part.needs())
    has_all = part.needs_alone and all(
        name in batch.schema.names and not batch.column(name).null_count
        for batch in batches(folder, names)
        for name in names
    )
    return names if has_all else [*names, "reply"]


def _judge(part: Filter, corpus: Corpus, file: Path) -> None:
    """Writes a line for each row of the corpus, and takes the rows that leave out of it."""
    verdicts = (
        part.judge_corpus(corpus)
        if isinstance(part, CorpusFilter)
        else iter(part.judge_group(list(corpus)))
    )
    places = (place for place, stays in enumerate(bytes(corpus.stays)) if stays)
    left = []
    with file.open("wb") as out:
        for place, given in one_each(part, places, verdicts):
            verdict = part.named(given)
            leaves: Fields = {}
            if part.keeps(verdict):
                verdict = verdict._replace(keep=True)
            else:
                leaves = {
                    "reason": part.why(verdict),
                    "detail": verdict.detail(),
                }
                left.append(place)
            line = orjson.dumps(
                [verdict.struct(), leaves], option=orjson.OPT_APPEND_NEWLINE
            )
            out.write(line)
    for place in left:
        corpus.stays[place] = 0
