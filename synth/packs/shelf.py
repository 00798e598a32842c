"""Rows that are chosen for a row: of a user's file, of the pack's own rows, or of a list that the
row itself has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.core.errors import RowFault, WrongUse, did_you_mean
from synth.core.records import Row, canonical_json
from synth.inputs.seeds import read_rows
from synth.packs.choice_schema import RetrieveSpec
from synth.packs.choosing import Asking, Chooser
from synth.packs.files import read_inside
from synth.packs.pool import Pool
from synth.packs.templates import Template, Templates

if TYPE_CHECKING:
    from synth.packs.choice_schema import ChoiceSpec


def _own_file(folder: Path, name: str, block: str) -> Path:
    """The sample of rows that a pack brings, once it is known to be a regular file of it.

    Raises:
        WrongUse: it leads out of the pack, is no regular file or is missing.
    """
    try:
        read_inside(folder, name)
    except WrongUse as error:
        where, got, wanted, _ = error.args
        raise WrongUse(
            f"{block}.file: {where}",
            got,
            wanted,
            f"Name a file of yours: --set {block}.file=FILE.",
        ) from error
    return folder / name


def read_shelf(
    file: str, folder: Path | None, block: str, *needed: str
) -> list[Row]:
    """The rows of a block's file.

    Args:
        file: its name; "" where nobody has named one.
        folder: the pack's, where the pack itself names the file; None where the user does.
        block: the block's place in the pack, as `--set` names it.
        needed: columns that must hold texts; "" for none.

    Raises:
        WrongUse: no file, a file of the pack that leads out of its folder, or rows without a
            column.
    """
    if not file:
        raise WrongUse(
            f"{block}.file",
            "none",
            "a file to retrieve from",
            f"Give it: --set {block}.file=FILE.",
        )
    path = file if folder is None else _own_file(folder, file, block)
    rows: list[Row] = list(read_rows(path))
    require_texts(rows, [column for column in needed if column], file)
    return rows


def require_texts(
    rows: Iterable[Row], columns: Sequence[str], where: str
) -> None:
    """Raises WrongUse where a row has no text in one of the columns."""
    for number, row in enumerate(rows, 1):
        for column in columns:
            if isinstance(row.get(column), str):
                continue
            if column in row:
                raise WrongUse(
                    f"{where} row {number}",
                    f"{column} = {row[column]!r:.80}",
                    "a text",
                    "Correct the row, or take it out.",
                )
            raise WrongUse(
                f"{where} row {number}",
                f"columns {', '.join(row)}",
                f"text in {column!r}",
                did_you_mean(column, row),
            )


class Shelf:
    """The rows that one block of a pack chooses from.

    Args:
        spec: what is chosen, and how.
        folder: the pack's, where the pack itself names the file; None where the user does, who may
            name any.
        block: the block's place in the pack, as `--set` names it.
        inputs: names of the pack's inputs.
        rows: in place of a file: the rows themselves.
        pool: in place of a file: a pool, whose rows grow.

    Raises:
        WrongUse: no file, a file of the pack that leads out of its folder, or rows without the
            field.
    """

    def __init__(
        self,
        spec: ChoiceSpec,
        folder: Path | None,
        *,
        block: str = "retrieve",
        inputs: Collection[str] = (),
        rows: Sequence[Row] = (),
        pool: Pool | None = None,
    ) -> None:
        self.spec = spec
        self.block = block
        self.pool = pool
        self.rows = list(rows)
        if not rows and not spec.of and pool is None:
            self.rows = read_shelf(spec.file, folder, block, spec.needed)
        self.chooser = Chooser(spec, block, inputs)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What is searched, of each row of the file."""
        return tuple(str(row.get(self.spec.needed)) for row in self.rows)

    @cached_property
    def show(self) -> Template | None:
        """The template of what is shown of a row."""
        text = self.spec.show if isinstance(self.spec, RetrieveSpec) else ""
        if not text:
            return None
        return Templates().compile(text, f"{self.block}.show")

    def chosen(self, values: Row, asking: Asking) -> list[Row]:
        """The rows that are chosen for a row."""
        rows: Sequence[Row] = self.rows if self.pool is None else self.pool.seen
        # A pool only grows.
        version: Any = len(rows)
        if self.spec.of:
            rows = self._listed(values, self.spec.of)
            version = canonical_json(rows)
        places = self.chooser.choose(rows, values, asking, version)
        return [rows[place] for place in places]

    def near(self, values: Row, asking: Asking = Asking()) -> list[str]:  # noqa: B008 - it has no state
        """What is shown of the rows that are chosen for a row.

        Raises:
            RowFault: a row of a list has nothing to show.
        """
        return list(map(self._shown, self.chosen(values, asking)))

    def _listed(self, values: Row, name: str) -> list[Row]:
        """The elements of a list of the row."""
        listed = values.get(name) or []
        if not isinstance(listed, list):
            raise RowFault(
                f"{self.block}.of",
                f"{name} = {listed!r}"[:200],
                "a list",
                "Correct the row.",
            )
        return [
            one if isinstance(one, Mapping) else {"item": one} for one in listed
        ]

    def _shown(self, row: Row) -> str:
        if self.show:
            return self.show.render(row)
        field = self.spec.field or "item"
        if field not in row:
            raise RowFault(
                self.block,
                f"columns {', '.join(map(str, row))}",
                f"a column {field!r}",
                f"Name what is shown: {self.block}.field or {self.block}.show.",
            )
        return str(row[field])
