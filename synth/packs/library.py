"""All rows that a pack chooses from, open for one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from synth.core.errors import RowFault, WrongUse
from synth.core.records import Fields, Row
from synth.packs.choice_schema import RetrieveSpec
from synth.packs.choosing import Asking
from synth.packs.demonstrations import (
    MOST_SHOWN,
    check_shown,
    demonstration,
    not_rendered,
)
from synth.packs.pool import Pool
from synth.packs.shelf import Shelf, read_shelf
from synth.packs.step import Demonstration, Step

if TYPE_CHECKING:
    from synth.packs.pack import Pack


class Library:
    """The shelves of a pack: those of its `retrieve` blocks and those of its demonstrations.

    Args:
        pack: the pack, whose files are read now.

    Raises:
        WrongUse: a file that is missing or lacks a column, or a demonstration that misleads.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        inputs = tuple(pack.spec.inputs)
        self.pools = {name: open_pool(pack, name) for name in pack.spec.pools}
        self.blocks: Mapping[str, RetrieveSpec] = pack.spec.retrieves
        self.shelves = {
            block: Shelf(
                spec,
                pack.folder_of(block),
                block=block,
                inputs=inputs,
                pool=self.pools.get(spec.pool or ""),
            )
            for block, spec in self.blocks.items()
        }
        self.shown: dict[str, Shelf] = {}
        for step in pack.steps:
            if step.chosen:
                pool = self.pools.get(step.chosen.spec.pool or "")
                shelf = open_demonstrations(pack, step, pool)
                self.shown[step.name] = shelf

    def samples(self) -> Fields:
        """What stands for rows that are looked up, before anything is: the first ones of a file."""
        samples: Fields = {}
        for block, spec in self.blocks.items():
            most = spec.most
            texts = self.shelves[block].texts[:most]
            samples[spec.into] = list(texts) or ["word word"] * most
        return samples

    def listed(self, step: Step, values: Row, asking: Asking) -> Fields:
        """What is chosen before a step of lists and pools."""
        found: Fields = {}
        for block in step.retrieves:
            spec = self.blocks[block]
            if spec.of or spec.pool:
                shelf = self.shelves[block]
                near = shelf.near(values, asking)
                found[spec.into] = near
        return found

    def retrieved(
        self, step: Step, values: Row, asking: Asking, *, drawn: bool
    ) -> Fields:
        """The lists of what is looked up before a step.

        Args:
            step: the step.
            values: the row.
            asking: whose question it is.
            drawn: whether it is those that differ from draw to draw, or the others.
        """
        found: Fields = {}
        for block in step.retrieves:
            spec = self.blocks[block]
            # A list that the step spreads must be there before its draws are.
            spread = step.spread[0] if step.spread else None
            differs = spec.choose == "random" and spread != spec.into
            if differs == drawn:
                shelf = self.shelves[block]
                near = shelf.near(values, asking)
                found[spec.into] = near
        return found

    @property
    def paces(self) -> list[int]:
        """After how many rows of the input each pool shows more."""
        return [pool.spec.every for pool in self.pools.values()]

    def offer(self, values: Row) -> str | None:
        """Offers a kept row to all pools; the name of one that has its text, None where none has.

        Raises:
            RowFault: it lacks what a template reads.
        """
        for name, pool in self.pools.items():
            if not pool.offer(values):
                return name
        return None

    def left(self, seeds: int) -> bool:
        """Whether any pool shows more from now on, where so many rows of the input are through."""
        turned = [pool.left(seeds) for pool in self.pools.values()]
        return any(turned)

    def showing(self, step: Step, values: Row, asking: Asking) -> Step:
        """The step with the demonstrations that are chosen for a row.

        Raises:
            RowFault: a chosen row lacks what a template reads.
        """
        if step.chosen is None:
            return step
        shelf = self.shown[step.name]
        rows = shelf.chosen(values, asking)
        if step.chosen.spec.choose == "nearest":
            # The nearest one stands next to the question.
            rows.reverse()
        turns = [_turn(self.pack, step, row) for row in rows]
        return step.showing(turns)


def open_pool(pack: Pack, name: str) -> Pool:
    """A pool with the rows that it starts with.

    Raises:
        WrongUse: no such file, or a row that lacks a column.
    """
    spec = pack.spec.pools[name]
    block = f"pools.{name}"
    first: list[Row] = []
    if spec.file:
        folder = pack.folder_of(block)
        first = read_shelf(spec.file, folder, block, *spec.add)
    elif spec.of:
        column = next(iter(spec.add))
        listed = pack.spec.constants[spec.of]
        for one in listed:
            is_row = isinstance(one, dict)
            first.append(one if is_row else {column: one})
    add = pack.pools[name]
    return Pool(spec, first, add)


def open_demonstrations(
    pack: Pack, step: Step, pool: Pool | None = None
) -> Shelf:
    """The rows of a step that chooses its demonstrations; those of a file are checked.

    Raises:
        WrongUse: no such file, or a row that makes no turn which the step's parser reads.
    """
    assert step.chosen is not None  # noqa: S101 - the caller looked
    spec = step.chosen.spec
    block = f"{step.name}.demonstrations"
    folder = pack.folder_of(block)
    rows = [{**one.given, "reply": one.reply} for one in spec.rows]
    shelf = Shelf(
        spec,
        folder,
        block=block,
        inputs=tuple(pack.spec.inputs),
        rows=rows,
        pool=pool,
    )
    # Those of pack.yaml are checked when it is read.
    if spec.file:
        _check(pack, step, shelf)
    return shelf


def _check(pack: Pack, step: Step, shelf: Shelf) -> None:
    """Every row of a file makes a turn that the step's parser reads."""
    file = shelf.spec.file
    is_own = pack.folder_of(shelf.block) is not None
    if is_own and len(shelf.rows) > MOST_SHOWN:
        raise WrongUse(
            f"{shelf.block}.file",
            f"{len(shelf.rows):,} rows in {file}",
            f"at most {MOST_SHOWN:,} in a file of the pack",
            f"Name a file of yours: --set {shelf.block}.file=FILE.",
        )
    for number, row in enumerate(shelf.rows, 1):
        where = f"{file} row {number}"
        try:
            made = _turn(pack, step, row)
        except RowFault as error:
            raise not_rendered(where, error) from error
        check_shown(step, made, where)


def _turn(pack: Pack, step: Step, row: Row) -> Demonstration:
    """One row of a step's demonstrations as a turn."""
    assert step.chosen is not None  # noqa: S101 - only such steps have rows
    return demonstration(step, row, pack.spec.around, step.chosen.reply)
