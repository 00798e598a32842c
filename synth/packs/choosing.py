"""Which rows of many are chosen for a row: the nearest, some at random, the first ones or all."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from synth.core.records import Row, canonical_json
from synth.search.index import Index, open_index
from synth.text.words import plain

if TYPE_CHECKING:
    from synth.packs.choice_schema import ChoiceSpec


class Asking(NamedTuple):
    """Whose question it is: what is drawn for it is drawn by this alone.

    Attributes:
        seed_id: of the row.
        draw: number of the draw.
        place: what else tells two questions of a draw apart, such as the element of a list.
    """

    seed_id: str = ""
    draw: int = 0
    place: tuple[Any, ...] = ()


class Chooser:
    """Chooses rows by the rules of one block of a pack.

    Args:
        spec: the rules.
        where: the block's place in the pack, which tells its draws from those of other blocks.
        inputs: names of the pack's inputs, by which a row knows itself.
    """

    def __init__(
        self, spec: ChoiceSpec, where: str, inputs: Collection[str]
    ) -> None:
        self.spec = spec
        self.where = where
        self.inputs = inputs
        self._indexed: tuple[Any, Index] | None = None

    def choose(
        self, rows: Sequence[Row], values: Row, asking: Asking, version: Any
    ) -> list[int]:
        """Places of the chosen rows, in the order in which they are shown.

        Args:
            rows: what is chosen from.
            values: the row for which they are chosen.
            asking: whose question it is.
            version: another value whenever `rows` are others than before.
        """
        if self.spec.choose == "nearest":
            return self._nearest(rows, values, asking, version)
        count = len(rows)
        places: Iterator[int] = iter(range(count))
        if self.spec.choose == "random":
            name = [self.spec.seed, self.where, *asking]
            key = canonical_json(name)
            places = shuffled(count, key)
        fitting = self._fitting(places, rows, values, asking)
        if self.spec.choose == "all":
            return list(fitting)
        most = self.spec.most
        return list(islice(fitting, most))

    def _nearest(
        self, rows: Sequence[Row], values: Row, asking: Asking, version: Any
    ) -> list[int]:
        """The nearest rows; one that says just what is looked up is passed over."""
        if not rows:
            return []
        field = self.spec.needed
        text = _text(values, str(self.spec.query))
        itself = plain(text)
        index = self._index(rows, version)
        # Among so many are as many as are wanted, unless rules take more of them out.
        looked_at = 2 * self.spec.most + 10
        while True:
            hits = index.best([text], looked_at)[0]
            places = (
                place
                for place, _ in hits
                if plain(_text(rows[place], field)) != itself
            )
            fitting = self._fitting(places, rows, values, asking)
            found = list(fitting)
            most = self.spec.most
            are_all = len(hits) < looked_at
            is_ruled = self.spec.same or self.spec.exclude
            if len(found) >= most or are_all or not is_ruled:
                return found[:most]
            looked_at *= 4

    def _index(self, rows: Sequence[Row], version: Any) -> Index:
        """The search over the rows, made when the first one is looked for."""
        if self._indexed is None or self._indexed[0] != version:
            field = self.spec.needed
            texts = [_text(row, field) for row in rows]
            index = open_index(texts, self.spec.by)
            self._indexed = version, index
        return self._indexed[1]

    def _fitting(
        self,
        places: Iterator[int],
        rows: Sequence[Row],
        values: Row,
        asking: Asking,
    ) -> Iterator[int]:
        """The places of rows that the rules let through."""
        for place in places:
            row = rows[place]
            if not agree(self.spec.same, row, values):
                continue
            if not self._is_excluded(row, values, asking):
                yield place

    def _is_excluded(self, row: Row, values: Row, asking: Asking) -> bool:
        columns = self.spec.exclude
        if columns == "self":
            own = asking.seed_id
            if own and _text(row, "id") == own:
                return True
            columns = [
                name for name in self.inputs if row.get(name) is not None
            ]
        if not columns:
            return False
        return agree(columns, row, values)


def _text(row: Row, column: str) -> str:
    """The text of a column; "" where there is none."""
    value = row.get(column)
    return str(value or "")


def agree(columns: Collection[str], one: Row, other: Row) -> bool:
    """Whether two rows say the same in all columns, whatever their case and white space."""
    for name in columns:
        if name not in one or name not in other:
            return False
        mine = plain(str(one[name]))
        others = plain(str(other[name]))
        if mine != others:
            return False
    return True


def shuffled(count: int, key: bytes) -> Iterator[int]:
    """The numbers below `count` in an order that the key decides, drawn as they are taken.

    Of `random` only what Python promises not to change is used: the same key gives the same order
    under every version.

    >>> list(shuffled(5, b"one")), sorted(shuffled(5, b"two"))
    ([4, 3, 1, 0, 2], [0, 1, 2, 3, 4])
    """
    drawn = random.Random(key)
    moved: dict[int, int] = {}
    for first in range(count):
        left = count - first
        other = first + int(drawn.random() * left)
        yield moved.get(other, other)
        moved[other] = moved.get(first, first)
