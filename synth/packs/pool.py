"""A pool: rows that grow while a run goes, the same ones on every rerun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth.core.records import Row
from synth.text.novelty import Novelty
from synth.text.words import plain

if TYPE_CHECKING:
    from synth.packs.choice_schema import PoolSpec
    from synth.packs.templates import Template


# Characters of a text that are held against others: two longer ones would take seconds.
MOST_COMPARED = 4000


class Pool:
    """What questions see grows between the rows of the input, never while one of them is under way:
    the question about row n sees what came of the first `every` * (n // `every`) rows, counted from
    0 in the order of the input. So a run that was killed, and a rerun, ask the same.

    Args:
        spec: the rules.
        first: the rows that it starts with; a text that stands twice stands once in the pool.
        add: column -> template over a kept row.

    Attributes:
        seen: the rows that questions see now.
    """

    def __init__(
        self, spec: PoolSpec, first: Sequence[Row], add: dict[str, Template]
    ) -> None:
        self.spec = spec
        self.add = add
        self._novelty = Novelty(spec.near, spec.likeness)
        self._rows = [row for row in first if self._is_new(row)]
        self.seen: Sequence[Row] = tuple(self._rows)

    def offer(self, values: Row) -> bool:
        """Whether a kept row enters; False where the pool has its text.

        Raises:
            RowFault: it lacks what a template reads.
        """
        row = {
            column: template.render(values)
            for column, template in self.add.items()
        }
        if not self._is_new(row):
            return False
        self._rows.append(row)
        return True

    def _is_new(self, row: Row) -> bool:
        if self.spec.distinct is None:
            return True
        text = plain(str(row[self.spec.distinct]))
        return self._novelty.admit(text[:MOST_COMPARED])

    def left(self, seeds: int) -> bool:
        """Whether questions see more from now on, where so many rows of the input are through."""
        turns = seeds % self.spec.every == 0
        if turns:
            self.seen = tuple(self._rows)
        return turns
