"""The contract of a filter: one verdict per row, no row edited, every reason declared.

`kept, dropped = SomeFilter(...).split(rows)` works on dicts, lists, streams and datasets, also
where an event loop already runs (a notebook). Kept rows come back unchanged but for `marks`;
dropped ones carry `reason`.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from synth.core.aio import run_async, run_now
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Fields, Row, Verdict, canonical_json
from synth.core.registry import part_name
from synth.core.rows import text_of
from synth.inputs.tables import chosen, kind_of, rows_in

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.packs.pack import Pack
    from synth.packs.step import Step

Item = TypeVar("Item")
# Rows by their places in what was given.
Placed = dict[int, Fields]
# Parameters of filters that name fields of a row.
_NAME_FIELDS = {
    "answer",
    "chain",
    "each",
    "field",
    "fields",
    "first",
    "gold",
    "hidden",
    "must",
    "never",
    "of",
    "other",
    "premise",
    "prompt",
    "second",
    "sources",
    "target",
    "tests",
}


# A parameter that takes one name or a list of them.
Names = str | tuple[str, ...] | None


def several(given: Any) -> tuple[Any, ...]:
    """A parameter that takes one name or a list of them.

    >>> several("question"), several(["a", "b"]), several(None)
    (('question',), ('a', 'b'), ())
    """
    if isinstance(given, str):
        return (given,)
    return tuple(given or ())


@dataclass(frozen=True, kw_only=True)
class Filter(ABC):
    """Base of all filters.

    Args:
        unknown: what happens to a row that the filter could not judge: `keep` or `drop`.
        mode: `drop` lets the verdict decide; `mark` only writes it down and keeps every row.
    """

    unknown: Literal["keep", "drop"] = "keep"
    mode: Literal["drop", "mark"] = "drop"

    reads: ClassVar[tuple[str, ...]] = ()
    reasons: ClassVar[Mapping[str, str]] = {}
    group: ClassVar[str | None] = None
    asks: ClassVar[bool] = False
    # Whether it looks at nothing of a row but what it needs, where the row has that.
    needs_alone: ClassVar[bool] = False
    # Parameters that are called like others which name fields of a row, and do not.
    no_fields: ClassVar[frozenset[str]] = frozenset()
    # The mark that `least` and `calibrate` look at.
    score: ClassVar[str] = "score"

    @cached_property
    def name(self) -> str:
        """The filter's name in marks, reasons and messages: its file's, else its class's."""
        return part_name(type(self))

    def needs(self) -> tuple[str, ...]:
        """Fields that a row should have."""
        return self.reads

    def named_fields(self) -> list[str]:
        """Names of fields that the user or the pack gave, without what stands behind a dot: each
        must be a field of the rows.
        """
        if each := getattr(self, "each", None):
            return [
                str(each).partition(".")[0]
            ]  # the other names are of what stands in its elements
        given = [
            getattr(self, f.name)
            for f in fields(self)
            if f.name in _NAME_FIELDS - self.no_fields
            and getattr(self, f.name) != f.default
        ]
        names = [name for value in given for name in several(value)]
        return [str(name).partition(".")[0] for name in names if name]

    def unknown_field(self, names: Collection[str]) -> tuple[str, str] | None:
        """(name, hint) of the first field that the user named and that is none of these."""
        for name in self.named_fields():
            if name not in names:
                return name, did_you_mean(name, map(str, names))
        return None

    def roles(self) -> tuple[str, ...]:
        """Teachers that a run must hold open for this filter."""
        return ()

    def questions(self, draws: int) -> Sequence[tuple[Step, Pack, float]]:  # noqa: ARG002
        """What the filter asks about a seed with so many draws: the step, its pack, how many
        calls.
        """
        return ()

    def keeps(self, verdict: Verdict) -> bool:
        """Whether a row with this verdict stays."""
        return self.mode == "mark" or (
            self.unknown == "keep" if verdict.keep is None else verdict.keep
        )

    def why(self, verdict: Verdict) -> str:
        """The reason of a verdict with which a row does not stay."""
        return verdict.reason or f"unknown_{self.name}"

    def named(self, verdict: Verdict) -> Verdict:
        """The verdict under this filter's name.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(verdict, Verdict):
            raise TypeError(
                f"{self.name} gives {verdict!r}; wanted a Verdict, as in "
                "`from synth.core.records import Verdict; Verdict(keep, reason)`"
            )
        return Verdict(verdict.keep, verdict.reason, verdict.marks, self.name)

    async def verdicts(
        self,
        rows: Sequence[Row],
        doors: Doors | None = None,  # noqa: ARG002
    ) -> list[Verdict]:
        """One verdict per row of one group (draws of one seed); only critics go through `doors`."""
        return [self.named(v) for v in self.judge_group(rows)]

    @abstractmethod
    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, in their order: rows of one seed where `group` is "draws", all rows
        where it is "corpus", any rows where it is None.
        """

    def judge(self, row: Row) -> Verdict:
        """The verdict on a single row."""
        if self.asks:
            return run_async(self.verdicts([row]))[0]
        return self.named(self.judge_group([row])[0])

    @overload
    def split(
        self,
        rows: Iterable[Row],
        *,
        group: str = "question",
        progress: bool = False,
    ) -> tuple[list[Fields], list[Fields]]: ...

    @overload
    def split(
        self, rows: Any, *, group: str = "question", progress: bool = False
    ) -> tuple[Any, Any]: ...

    def split(
        self, rows: Any, *, group: str = "question", progress: bool = False
    ) -> tuple[Any, Any]:
        """Kept and dropped rows, each in input order.

        Args:
            rows: mappings, or a table: a DataFrame of pandas or polars, a `datasets.Dataset`, a
                pyarrow table.
            group: the column that draws of one seed share (only group filters look at it).
            progress: whether to show on standard error how many rows are judged; rows then go
                through in parts.

        Returns:
            Kept rows with their `marks`, dropped rows with `reason` and `marks`; of a table, two
            tables of its kind with its types and its index, in which `marks` is JSON text.

        Raises:
            TypeError: one row, or what is no rows.
            WrongUse: a column `marks` that no filter wrote.
        """
        if isinstance(rows, Mapping):
            raise TypeError(
                f"{self.name}: one row; use judge(row), or split([row])"
            )
        if isinstance(rows, str | bytes | PathLike):
            raise TypeError(
                f"{self.name}: the path or text {str(rows)[:80]!r}; use split(rows) with what "
                "stands in it, for example pandas.read_json(path, lines=True), or "
                "`synth filter --input FILE`"
            )
        listed: list[Any] = rows_in(rows) if kind_of(rows) else list(rows)
        _check_listed(self.name, listed)
        self._warn_of_fields(listed)
        return self._split(rows, listed, group=group, progress=progress)

    def _warn_of_fields(self, rows: Sequence[Row]) -> None:
        """Warns where no row has a field that the user named."""
        if not rows or not self.named_fields():
            return
        unknown = self.unknown_field({key for row in rows for key in row})
        if unknown:
            name, hint = unknown
            warnings.warn(
                f"filter {self.name}: no row has the field {name!r}. {hint}",
                stacklevel=3,
            )

    def _split(
        self, rows: Any, listed: list[Any], *, group: str, progress: bool
    ) -> tuple[Any, Any]:
        if progress and self.group is None:
            kept, dropped = _shown(self, listed)
        else:
            kept, dropped = self._placed(listed, group)
        return _as_given(rows, kept, ()), _as_given(rows, dropped, ("reason",))

    def _placed(self, rows: Sequence[Row], group: str) -> tuple[Placed, Placed]:
        """Kept and dropped rows by their places."""
        work = run_async if self.asks else run_now
        return work(placed_rows([self], rows, group=group))

    def stream(
        self, rows: Iterable[Row], *, part: int = 256
    ) -> Iterator[tuple[Fields, bool]]:
        """(row with its marks, whether it is kept; dropped ones have a `reason`), in order, while
        the input still comes.

        Args:
            rows: mappings, also without end: never more than `part` of them are held.
            part: rows that are judged together.

        Raises:
            TypeError: the filter must see all rows, or all draws of a seed, before it judges one.
        """
        if self.group is not None:
            raise TypeError(f"{self.name} sees {self.group} at once; use split")
        waiting = iter(rows)
        while batch := list(islice(waiting, part)):
            kept, dropped = self._placed(batch, "")
            for place in range(len(batch)):
                is_kept = place in kept
                row = kept[place] if is_kept else dropped[place]
                yield row, is_kept


@dataclass(frozen=True, kw_only=True)
class RowFilter(Filter):
    """A filter that judges each row by itself."""

    # Where a filter that another one takes is found.
    room: ClassVar[str] = "synth.filters"

    @abstractmethod
    def verdict(self, row: Row) -> Verdict:
        """Judges one row.

        Returns:
            Whether the row stays (None: unknown, which `unknown` decides), one of `reasons` where
            it is not True, and marks for the verdicts in the row's `meta`.
        """

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """Each row's own verdict."""
        return list(map(self.verdict, rows))


@dataclass(frozen=True, kw_only=True)
class WorkFilter(Filter):
    """A filter that hands rows to processes of its own; a run goes on meanwhile."""

    asks: ClassVar[bool] = True

    async def verdicts(
        self,
        rows: Sequence[Row],
        doors: Doors | None = None,  # noqa: ARG002
    ) -> list[Verdict]:
        """One verdict a row."""
        return [
            self.named(verdict)
            for verdict in await asyncio.to_thread(self.judge_group, rows)
        ]


@dataclass(frozen=True, kw_only=True)
class GroupFilter(Filter):
    """A filter that sees all draws of one seed at once."""

    group: ClassVar[str | None] = "draws"


@dataclass(frozen=True, kw_only=True)
class CorpusFilter(Filter):
    """A filter that sees all rows at once."""

    group: ClassVar[str | None] = "corpus"
    field: str = "question"

    def needs(self) -> tuple[str, ...]:
        """The text that is compared."""
        return (self.field,)

    def judge_corpus(self, rows: Collection[Row]) -> Iterator[Verdict]:
        """One verdict a row, in their order.

        Args:
            rows: all there are; they can be gone through any number of times, and each time they
                may come from the disk.
        """
        yield from self.judge_group(list(rows))

    @staticmethod
    def text(row: Row, field: str) -> str:
        """The text of a field; the row's raw reply where it lacks the field."""
        value = row.get(field)
        return str(value) if value is not None else text_of(row)


def _as_given(given: Any, rows: Placed, texts: Sequence[str]) -> Any:
    """Rows as the kind of table that was given; there all marks are one column of texts, as every
    row's differ.

    Args:
        given: by the user.
        rows: of these rows, by their places.
        texts: columns besides `marks` that were written.
    """
    if not kind_of(given):
        return list(rows.values())
    written = rows.values()
    columns: dict[str, list[str]] = {}
    for name in texts:
        columns[name] = [str(row[name]) for row in written]
    columns["marks"] = [
        canonical_json(row.get("marks", {})).decode() for row in written
    ]
    return chosen(given, list(rows), columns)


def _check_listed(name: str, rows: list[Any]) -> None:
    """Refuses what is no row, and reads the marks that a filter left in a table."""
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(
                f"{name}: row {place + 1} is {str(row)[:80]!r}; use split(rows) with mappings"
            )
        marks = row.get("marks")
        if marks is None or isinstance(marks, Mapping):
            continue
        rows[place] = {**row, "marks": _marks_of(marks, place + 1)}


def _marks_of(marks: object, number: int) -> Fields:
    """The marks that stand in a table as JSON text."""
    try:
        read = json.loads(str(marks))
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise WrongUse(
            f"row {number}",
            f"marks = {str(marks)[:80]!r}",
            "a column `marks` that a filter wrote, or none",
            "Rename the column: filters write their marks there.",
        )
    return read


def _shown(part: Filter, rows: list[Row]) -> tuple[Placed, Placed]:
    """Kept and dropped rows of `part.stream`, with a bar on standard error."""
    from rich.console import Console  # noqa: PLC0415 - only for who wants to see
    from rich.progress import track  # noqa: PLC0415

    kept: Placed = {}
    dropped: Placed = {}
    judged = track(
        part.stream(rows),
        f"{part.name} ",
        total=len(rows),
        console=Console(stderr=True),
    )
    for place, (row, keep) in enumerate(judged):
        (kept if keep else dropped)[place] = row
    return kept, dropped


@dataclass(frozen=True, kw_only=True)
class StreamedFilter(CorpusFilter):
    """A corpus filter that goes through the rows and holds a few numbers of each."""

    @abstractmethod
    def judge_corpus(self, rows: Collection[Row]) -> Iterator[Verdict]:
        """One verdict a row, in their order; see the base."""

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """The same verdicts of rows that are held."""
        return list(self.judge_corpus(rows))


def one_each(
    part: Filter, rows: Iterable[Item], verdicts: Iterable[Verdict]
) -> Iterator[tuple[Item, Verdict]]:
    """Each row, or what stands for it, with its verdict.

    Raises:
        WrongUse: the filter gave more or fewer verdicts than it was given rows.
    """
    if type(rows) is type(verdicts) is list and len(rows) == len(verdicts):
        # Nothing has to be counted.
        return zip(rows, verdicts)  # noqa: B905 - as long as one another
    return _counted(part, rows, verdicts)


def _counted(
    part: Filter, rows: Iterable[Item], verdicts: Iterable[Verdict]
) -> Iterator[tuple[Item, Verdict]]:
    given = iter(verdicts)
    count = 0
    for row in rows:
        for verdict in islice(given, 1):
            yield row, verdict
            break
        else:
            raise _odd_count(part, f"{count:,} verdicts for more rows")
        count += 1
    for _ in islice(given, 1):
        raise _odd_count(part, f"more than {count:,} verdicts for {count:,}")


def _odd_count(part: Filter, got: str) -> WrongUse:
    return WrongUse(
        f"filter {part.name}",
        got,
        "one verdict a row, in the order of the rows",
        f"Look at what {type(part).__name__} returns for its rows.",
    )


async def split_rows(
    filters: Sequence[Filter],
    rows: Sequence[Row],
    *,
    group: str = "question",
    doors: Doors | None = None,
) -> tuple[list[Fields], list[Fields]]:
    """Sends rows through filters in order; what one drops the next does not see."""
    kept, dropped = await placed_rows(filters, rows, group=group, doors=doors)
    return list(kept.values()), list(dropped.values())


async def placed_rows(
    filters: Sequence[Filter],
    rows: Sequence[Row],
    *,
    group: str = "question",
    doors: Doors | None = None,
) -> tuple[Placed, Placed]:
    """The same rows by their places, from 0, in order."""
    alive = {position: dict(row) for position, row in enumerate(rows)}
    dropped: dict[int, Fields] = {}
    for part in filters:
        for positions in _groups(part, alive, group):
            verdicts = await part.verdicts([alive[p] for p in positions], doors)
            for position, verdict in one_each(part, positions, verdicts):
                row = _marked(alive[position], verdict)
                alive[position] = row
                if not part.keeps(verdict):
                    dropped[position] = {
                        **row,
                        "reason": part.why(verdict),
                    }
                    del alive[position]
    return alive, dict(sorted(dropped.items()))


def _groups(
    part: Filter, alive: dict[int, Fields], column: str
) -> list[list[int]]:
    positions = list(alive)
    if part.group != "draws":
        return [positions]
    by_key: dict[str, list[int]] = {}
    for position, row in alive.items():
        name = column if column in row else "id"
        # A row without a seed of its own stands alone.
        seed: Any = position
        if name in row:
            seed = (name, row[name])
        key = repr(seed)
        by_key.setdefault(key, []).append(position)
    return list(by_key.values())


def _marked(row: Fields, verdict: Verdict) -> Fields:
    word = {"keep": verdict.keep, "reason": verdict.reason, **verdict.marks}
    before = row.get("marks") or {}
    return {**row, "marks": {**before, verdict.filter: word}}
