"""The stage `select`: rows chosen, joined, grouped, ordered, drawn and written anew."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from finetune.core.rows import JsonObject
from finetune.flows.formulas import Formula
from finetune.flows.row_schema import SelectSpec
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Values, canonical_json, hash_share
from synth.packs.pack import Pack
from synth.packs.shelf import Shelf
from synth.packs.templates import Template
from synth.text.novelty import Likeness, Novelty

Rows = list[JsonObject]
# A flow is data: it cannot fill a disk with copies.
MOST_TIMES = 1000


class Select:
    """A `select` whose templates are compiled.

    Args:
        spec: what flow.yaml says.
        where: its place there.
        pack: the one whose exports write `prompt` and `completion`; None where there are none, or
            where no row is made.

    Raises:
        WrongUse: a template that is none, or an export that the pack lacks.
    """

    def __init__(
        self, spec: SelectSpec, where: str, pack: Pack | None = None
    ) -> None:
        self.spec = spec
        self.where = where
        self._pack = pack
        self._exports = {} if pack is None else exports_of(spec, pack, where)
        self._where = self._formula("where")
        self._each = self._formula("each")
        self._group = self._formula("group")
        self._order = self._formula("order")
        self._sample = self._formula("sample")
        self._mistakes = self._formula("mistakes")
        self._most = self._formula("most")
        self._times = self._formula("times")
        self._make = {
            name: Formula(source, f"{where}.make.{name}")
            for name, source in spec.make.items()
        }

    def _formula(self, name: str) -> Formula | None:
        source = getattr(self.spec, name)
        return (
            None if source is None else Formula(source, f"{self.where}.{name}")
        )

    def variables(self) -> set[str]:
        """The names that its templates read."""
        formulas = [
            self._where,
            self._each,
            self._group,
            self._order,
            self._sample,
            self._mistakes,
            self._most,
            self._times,
            *self._make.values(),
        ]
        return {
            name
            for formula in formulas
            if formula
            for name in formula.variables
        }

    def apply(
        self,
        rows: Iterable[JsonObject],
        joins: Mapping[str, Mapping[str, JsonObject]],
        on: Mapping[str, str],
        around: Values,
        shelves: Mapping[str, Shelf] = MappingProxyType({}),
    ) -> Rows:
        """The rows that go on.

        Args:
            rows: in their order.
            joins: name -> key -> the row that belongs to it.
            on: name -> the column that holds the key.
            around: what templates see besides.
            shelves: name -> rows that are searched for what is near a row.
        """
        seen = list(self._seen(rows, joins, on, around, shelves))
        if self._group is None:
            made = [self._made(values) for values in seen]
        else:
            made = self._grouped(seen, around)
        if self._pack is not None:
            made = [self._exported(row, self._pack) for row in made]
        if self.spec.distinct:
            made = distinct(
                made,
                self.spec.distinct,
                self.spec.near,
                self.spec.likeness,
                self.where,
            )
        if self._order:
            order = self._order
            made.sort(key=lambda row: order.number({**around, "row": row}))
        if self._sample:
            made = self._drawn(made, self._sample, around)
        else:
            made = made[: self._count(len(made), around)]
        times = 1
        if self._times is not None:
            times = min(self._times.whole(around), MOST_TIMES)
        return made * times

    def _seen(
        self,
        rows: Iterable[JsonObject],
        joins: Mapping[str, Mapping[str, JsonObject]],
        on: Mapping[str, str],
        around: Values,
        shelves: Mapping[str, Shelf],
    ) -> Iterator[JsonObject]:
        """What templates see of each row that `where` lets through and that all joins know."""
        for row in rows:
            values: JsonObject = {**around, "row": row}
            for name, table in joins.items():
                has_key = row.get(on[name]) is not None
                other = table.get(key_of(row, on[name])) if has_key else None
                if other is None:
                    break
                values[name] = other
            else:
                for name, shelf in shelves.items():
                    values[name] = shelf.near(row)
                if self._where is None or self._where.holds(values):
                    yield from self._elements(values)

    def _elements(self, values: JsonObject) -> Iterator[JsonObject]:
        """The row as it is, or once for each element of its list."""
        if self._each is None:
            yield values
            return
        listed = self._each.value(values)
        if not isinstance(listed, list):
            raise WrongUse(
                self._each.where,
                repr(listed)[:200],
                "a list",
                "Correct the template.",
            )
        for index, item in enumerate(listed):
            yield {**values, "item": item, "index": index}

    def _made(self, values: JsonObject) -> JsonObject:
        row = {} if self.spec.only else dict(values["row"])
        for name, formula in self._make.items():
            row[name] = formula.value({**values, "made": row})
        return row

    def _exported(self, row: JsonObject, pack: Pack) -> JsonObject:
        """The row with what the pack's templates write of it."""
        values = pack.values(row)
        written = {
            column: template.render(values)
            for column, template in self._exports.items()
        }
        return {**row, **written}

    def _grouped(self, seen: Sequence[JsonObject], around: Values) -> Rows:
        """One row a group, in the order of the groups' first rows."""
        assert self._group is not None  # noqa: S101 - the caller looked
        groups: dict[str, Rows] = {}
        for values in seen:
            key = self._group.text(values)
            groups.setdefault(key, []).append(values["row"])
        made = []
        for key, members in groups.items():
            values = {
                **around,
                "group": key,
                "rows": members,
                "row": members[0],
            }
            row = {
                name: formula.value(values)
                for name, formula in self._make.items()
            }
            made.append(row)
        return made

    def _count(self, rows: int, around: Values) -> int:
        """Rows that go on of so many."""
        count = rows
        if self.spec.share is not None:
            count = math.ceil(self.spec.share * rows - 1e-9)
        if self._most is not None:
            count = min(count, self._most.whole(around))
        return count

    def _drawn(self, rows: Rows, weight: Formula, around: Values) -> Rows:
        """Rows drawn by weight without repetition, in their order.

        Each gets a key ln(u) / w with u from the hash of the row and the round, and the largest
        keys are drawn (Efraimidis and Spirakis, 2006, algorithm A-Res).
        """
        weights = [weight.number({**around, "row": row}) for row in rows]
        lowest = min(weights, default=0.0)
        if lowest < 0:
            raise WrongUse(
                weight.where,
                f"{lowest:g}",
                "a weight from 0 on",
                "Correct it.",
            )
        if self._mistakes is not None:
            weights = robust_weights(
                weights,
                self._mistakes.number(around),
                self._count(len(rows), around),
            )
        keyed = []
        for place, (row, share) in enumerate(zip(rows, weights, strict=True)):
            text = canonical_json([around.get("round"), place, row]).decode()
            chance = max(hash_share(text), 1e-300)
            if share > 0:
                keyed.append((math.log(chance) / share, place))
        most = self._count(len(rows), around)
        chosen = sorted(place for _, place in heapq.nlargest(most, keyed))
        return [rows[place] for place in chosen]


def robust_weights(
    gains: Sequence[float], mistaken: float, least: int = 1
) -> list[float]:
    """How often each row is drawn where hard rows teach most and a teacher errs on them most: the
    minimax answer of Robust Active Distillation (arXiv:2210.01213).

    Of n rows in the order of their gains g, the largest first, the first k may be drawn, each by
    1 / g, where k makes (k - n * mistaken) / (1 / g_1 + ... + 1 / g_k) largest.

    Args:
        gains: from 0 on, such as 1 - margin of the student; one of 0 counts as a millionth.
        mistaken: share of the rows that the teacher labels wrongly, from 0 to below 1.
        least: smallest k, such as the rows that are to be drawn.

    >>> robust_weights([0.5, 1.0, 0.01], 0.2)
    [2.0, 1.0, 0.0]
    """
    costs = [1 / max(gain, 1e-6) for gain in gains]
    order = sorted(range(len(costs)), key=lambda place: costs[place])
    total = 0.0
    best = -math.inf
    last = 0
    for count, place in enumerate(order, 1):
        total += costs[place]
        worth = (count - len(costs) * mistaken) / total
        if count <= least or worth > best:
            best = worth
            last = count
    drawn = set(order[:last])
    return [cost if place in drawn else 0.0 for place, cost in enumerate(costs)]


def exports_of(spec: SelectSpec, pack: Pack, where: str) -> dict[str, Template]:
    """Column -> the template of the pack that writes it.

    Raises:
        WrongUse: the pack has no such export.
    """
    found = {}
    for column in ("prompt", "completion"):
        named = getattr(spec, column)
        if named is None:
            continue
        kind, _, task = named.partition(".")
        pairs = dict(pack.exports.get(kind, {}))
        for one, declared in pack.spec.exports.multitask.items():
            # Such a task has a row for each element; a select writes one for each row.
            if kind == "multitask" and declared.each:
                del pairs[one]
        if (task or kind) not in pairs:
            known = [
                *pack.exports.get("sft", {}),
                *(
                    f"multitask.{one}"
                    for one in pack.exports.get("multitask", {})
                ),
            ]
            raise WrongUse(
                f"{where}.{column}",
                f"{named}: no such export of pack {pack.name}",
                " or ".join(known) or "a pack with exports",
                did_you_mean(named, known),
            )
        found[column] = pairs[task or kind][column]
    return found


def key_of(row: JsonObject, column: str) -> str:
    """The text by which rows are joined: a whole number is the same as a text, and as the float
    that a column with gaps makes of it.
    """
    value = row.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else canonical_json(value).decode()


def table_of(rows: Iterable[JsonObject], column: str) -> dict[str, JsonObject]:
    """Key -> the first row that has it; a row without one belongs to no other."""
    table: dict[str, JsonObject] = {}
    for row in rows:
        if row.get(column) is not None:
            table.setdefault(key_of(row, column), row)
    return table


def distinct(
    rows: Iterable[JsonObject],
    column: str,
    near: float | None,
    likeness: Likeness,
    where: str,
) -> Rows:
    """The first row of each value of a column, and none whose text is like an earlier one's.

    Args:
        rows: in their order.
        column: of texts.
        near: likeness from which on two texts are the same; None: only equal ones are.
        likeness: how alike two texts are.
        where: what asks for it, for messages.

    Raises:
        WrongUse: a row without the column.
    """
    novelty = Novelty(near, likeness)
    kept: Rows = []
    for number, row in enumerate(rows, 1):
        if column not in row:
            raise WrongUse(
                f"{where}.distinct",
                f"row {number} without {column!r}",
                ", ".join(map(str, row)),
                "Name a column that the rows have.",
            )
        if novelty.admit(key_of(row, column)):
            kept.append(row)
    return kept
