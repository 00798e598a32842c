"""Columns that the user's rows must have: those that stages read of them, however late they are
played.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jinja2 import nodes

from finetune.flows.artifacts import Artifact, rows_of
from finetune.flows.formulas import tree_of
from finetune.flows.loading import (
    INPUT,
    Flow,
    is_earlier,
    sources_of,
)
from finetune.flows.row_schema import Reference, SelectSpec
from finetune.flows.schema import RETRIEVER, StageSpec
from finetune.flows.selecting import exports_of
from synth.core.errors import WrongUse
from synth.packs.pack import Pack

# Where templates see a row.
_ROW = "row"
# What is read of a name only where it is there.
_ASKING_FILTERS = frozenset({"default", "d"})
_ASKING_TESTS = frozenset({"defined", "undefined"})
# What an answer writes beside a row, and what a measured row needs: one of each pair.
_REPLY = frozenset({"reply"})
_CHOSEN = frozenset({"reply", "shares", "margin"})
_JUDGED = (("target", "answer"), ("prompt", "question"))


@dataclass(frozen=True)
class Columns:
    """What rows of the user's have by the time that a stage reads them.

    Attributes:
        name: under which they were given.
        always: columns of every row.
        ever: columns of some row.
        whole: whether all rows are there still; of fewer, nobody knows which they are.
    """

    name: str
    always: frozenset[str]
    ever: frozenset[str]
    whole: bool = True

    def lacks(self, column: str) -> bool:
        """Whether a row is sure to come without a column."""
        return column not in (self.always if self.whole else self.ever)

    def fewer(self, is_fewer: bool) -> Columns:
        """The same where some of the rows may have gone."""
        return replace(self, whole=self.whole and not is_fewer)

    def having(self, columns: Iterable[str], *, only: bool = False) -> Columns:
        """The same with columns that are written, or these alone."""
        written = frozenset(columns)
        always = written if only else self.always | written
        ever = written if only else self.ever | written
        return replace(
            self,
            always=always,
            ever=ever,
        )


def check_columns(flow: Flow, given: Mapping[str, Artifact]) -> None:
    """Looks whether the user's rows have what stages read of them, as far as they reach these by
    `select` and `answer`: a stage would find out after what was paid and learnt before it.

    Args:
        flow: that is played.
        given: name -> rows of the user's.

    Raises:
        WrongUse: the first column that a row lacks, with the file, the row and the stage.
    """
    _Walk(flow, given).check()


class _Walk:
    def __init__(self, flow: Flow, given: Mapping[str, Artifact]) -> None:
        self.flow = flow
        self.given = given
        self.known: dict[str, Columns] = {}
        for name, rows in given.items():
            if columns := _columns_of(name, rows):
                self.known[name] = columns
        for name, pool in flow.spec.pools.items():
            start = self._now(pool.start)
            if start in self.known:
                begun = self.known[start]
                self.known[name] = begun.fewer(pool.distinct is not None)

    def check(self) -> None:
        for stage in self.flow.spec.stages():
            read = [self.known.get(self._now(one)) for one in sources_of(stage)]
            left = [
                self._through(stage, columns)
                for columns in read
                if columns is not None
            ]
            if len(read) == 1 and left and left[0] is not None:
                self.known[stage.name] = left[0]
                self.known[f"{stage.name}.rows"] = left[0]

    def _now(self, reference: Reference) -> str:
        """The alternative that the first round reads."""
        alternatives = reference.split(" or ")
        return next(
            one
            for one in [*alternatives, ""]
            if not is_earlier(one.partition(".")[0])
        )

    def _through(self, stage: StageSpec, columns: Columns) -> Columns | None:
        """What a stage leaves of rows; None where that is not known.

        Raises:
            WrongUse: it reads a column that they lack.
        """
        if stage.select is not None:
            return self._selected(stage, stage.select, columns)
        if stage.answer is not None:
            for source in (stage.answer, stage.choices):
                self._template(stage, source, columns)
            written = _REPLY if stage.choices is None else _CHOSEN
            return columns.having(written)
        if stage.evaluate not in (None, RETRIEVER):
            for names in _JUDGED:
                self._needs_one(stage, columns, names)
        if stage.run is not None:
            self._asked(stage, columns)
        return None

    def _selected(
        self, stage: StageSpec, select: SelectSpec, columns: Columns
    ) -> Columns:
        for join in stage.join.values():
            self._needs(stage, columns.fewer(True), join.by)
        columns = columns.fewer(bool(stage.join))
        for near in stage.nearest.values():
            self._needs(stage, columns, near.query)
            searched = self.known.get(self._now(near.rows))
            if searched is not None:
                self._needs(stage, searched, near.field)
        self._template(stage, select.where, columns)
        columns = columns.fewer(select.where is not None)
        for source in (select.each, select.group):
            self._template(stage, source, columns)
        for source in select.make.values():
            self._template(stage, source, columns.fewer(bool(select.group)))
        columns = columns.fewer(select.each is not None)
        made = columns.having(
            select.make,
            only=select.only or select.group is not None,
        )
        made = self._exported(stage, select, made)
        if select.distinct is not None:
            self._needs(stage, made, select.distinct)
        made = made.fewer(select.distinct is not None)
        for source in (select.order, select.sample):
            self._template(stage, source, made)
        made = made.fewer(select.sample is not None)
        made = made.fewer(select.share is not None)
        return made.fewer(select.most is not None)

    def _exported(
        self, stage: StageSpec, select: SelectSpec, columns: Columns
    ) -> Columns:
        """With the columns that a pack's templates write out of its inputs."""
        if not (select.prompt or select.completion):
            return columns
        pack = Pack.load(self.flow.pack(stage))
        exports = exports_of(select, pack, self.flow.spots[stage.name].line)
        for template in exports.values():
            for name, spec in pack.spec.inputs.items():
                if name in template.variables and not spec.optional:
                    self._needs(stage, columns, name)
        return columns.having(exports)

    def _asked(self, stage: StageSpec, columns: Columns) -> None:
        """What a pack asks about, under its own name or another one."""
        pack = Pack.load(self.flow.pack(stage))
        for name, spec in pack.spec.inputs.items():
            if not spec.optional:
                self._needs_one(stage, columns, (name, *spec.aliases))

    def _template(
        self, stage: StageSpec, source: str | None, columns: Columns
    ) -> None:
        if source is None:
            return
        where = self.flow.spots[stage.name].line
        for name in sorted(columns_read(source, where)):
            self._needs(stage, columns, name)

    def _needs(self, stage: StageSpec, columns: Columns, name: str) -> None:
        if columns.lacks(name):
            raise self._fault(stage, columns, name)

    def _needs_one(
        self, stage: StageSpec, columns: Columns, names: Sequence[str]
    ) -> None:
        """One of several columns; rows may have different ones of them."""
        found = columns.ever.intersection(names)
        lacking = map(columns.lacks, names)
        if len(found) < 2 and all(lacking):
            either = " or ".join(names)
            raise self._fault(stage, columns, either)

    def _fault(self, stage: StageSpec, columns: Columns, name: str) -> WrongUse:
        option = f"--rows {columns.name}="
        if columns.name == INPUT:
            option = f"--{INPUT} "
        rows = self.given[self._file(columns.name)]
        line = self.flow.spots[stage.name].line
        wanted = f"{name}, which the stage {stage.name} reads ({line})"
        return WrongUse(
            f"{option}{rows.where}",
            _lacking(rows, name),
            wanted,
            "Add the column, or correct the flow.",
        )

    def _file(self, name: str) -> str:
        """The name of the rows with which a pool starts, or their own."""
        pool = self.flow.spec.pools.get(name)
        return name if pool is None else self._now(pool.start)


def _columns_of(name: str, rows: Artifact) -> Columns | None:
    """The columns of rows; None where there are no rows."""
    counts: Counter[str] = Counter()
    total = 0
    for row in rows_of(rows):
        counts.update(row.keys())
        total += 1
    if not total:
        return None
    always = frozenset(one for one in counts if counts[one] == total)
    return Columns(name, always, frozenset(counts))


def _lacking(rows: Artifact, name: str) -> str:
    """The first row without a column, and what it has."""
    names = {*name.split(" or ")}
    for number, row in enumerate(rows_of(rows), 1):
        if not names & row.keys():
            return f"row {number} with {', '.join(row)}"
    return "rows that a stage before it writes anew"


def columns_read(source: str, where: str = "") -> set[str]:
    """The columns that a template is sure to read of each row, so that it fails on a row without
    them. What it reads in a branch, or asks whether it is there, is none.

    >>> sorted(columns_read("{{ row.a }} {{ row['b'] | default('') }}"))
    ['a']
    >>> sorted(columns_read("{% if row.c %}{{ row.d }}{% endif %}"))
    ['c']
    """
    tree = tree_of(source, where)
    if any(named.ctx == "store" for named in _names(tree)):
        return set()
    return set(_sure(tree))


def _names(tree: nodes.Node) -> Iterator[nodes.Name]:
    return (one for one in tree.find_all(nodes.Name) if one.name == _ROW)


def _sure(node: nodes.Node) -> Iterator[str]:
    """The columns that are read wherever this part of a template is."""
    if column := _column(node):
        yield column
        return
    for part in _always_read(node):
        yield from _sure(part)


def _always_read(node: nodes.Node) -> Iterable[nodes.Node]:
    """The parts that are read whenever the whole is."""
    if isinstance(node, nodes.Filter) and node.name in _ASKING_FILTERS:
        return ()
    if isinstance(node, nodes.Test) and node.name in _ASKING_TESTS:
        return ()
    if isinstance(node, nodes.If | nodes.CondExpr):
        return (node.test,)
    if isinstance(node, nodes.And | nodes.Or):
        return (node.left,)
    if isinstance(node, nodes.For):
        return (node.iter,)
    return node.iter_child_nodes()


def _column(node: nodes.Node) -> str:
    """The column that a part of a template reads, "" where it reads none."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return ""
    if not isinstance(node.node, nodes.Name) or node.node.name != _ROW:
        return ""
    if isinstance(node, nodes.Getattr):
        # A mapping's own words, such as `row.get`, come first.
        return "" if hasattr(dict, node.attr) else node.attr
    key = node.arg
    if isinstance(key, nodes.Const) and isinstance(key.value, str):
        return key.value
    return ""
