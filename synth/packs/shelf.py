"""Rows of a user's file that are near a text: by words (BM25) or by sentence vectors."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Row
from synth.inputs.seeds import read_rows
from synth.packs.files import read_inside
from synth.packs.templates import Template, Templates
from synth.search.index import Index, open_index
from synth.text.words import plain

if TYPE_CHECKING:
    from synth.packs.schema import RetrieveSpec


def _own_file(folder: Path, name: str) -> Path:
    """The sample of rows that a pack brings, once it is known to be a regular file of it.

    Raises:
        WrongUse: it leads out of the pack, is no regular file or is missing.
    """
    try:
        read_inside(folder, name)
    except WrongUse as error:
        where, got, wanted, _ = error.args
        raise WrongUse(
            f"retrieve.file: {where}",
            got,
            wanted,
            "Name a file of yours: --set retrieve.file=FILE.",
        ) from error
    return folder / name


class Shelf:
    """The rows that a pack retrieves from.

    Args:
        spec: what is looked up, and where.
        folder: the pack's, where the pack itself names the file; None where the user does, who may
            name any.

    Raises:
        WrongUse: no file, a file of the pack that leads out of its folder, or rows without the
            field.
    """

    def __init__(self, spec: RetrieveSpec, folder: Path | None) -> None:
        self.spec = spec
        if not spec.file:
            raise WrongUse(
                "retrieve.file",
                "none",
                "a file to retrieve from",
                "Give it: --set retrieve.file=FILE.",
            )
        self.rows = list(
            read_rows(
                spec.file if folder is None else _own_file(folder, spec.file)
            )
        )
        for number, row in enumerate(self.rows, 1):
            if not isinstance(row.get(spec.field), str):
                raise WrongUse(
                    f"{spec.file} row {number}",
                    f"columns {', '.join(row)}",
                    f"text in {spec.field!r}",
                    did_you_mean(spec.field, row),
                )
        self.texts = tuple(str(row[spec.field]) for row in self.rows)
        self.show: Template | None = (
            Templates().compile(spec.show, "retrieve.show")
            if spec.show
            else None
        )

    @cached_property
    def index(self) -> Index:
        """The search over the texts, made when the first one is looked for."""
        return open_index(self.texts, self.spec.by)

    def near(self, fields: Row) -> list[str]:
        """The nearest rows as texts; a row that says just what the seed says is passed over."""
        text = str(fields.get(self.spec.query) or "")
        hits = self.index.best([text], 2 * self.spec.most + 10)[0]
        places = [
            index
            for index, _ in hits
            if plain(self.texts[index]) != plain(text)
        ]
        return [
            self._shown(self.rows[index]) for index in places[: self.spec.most]
        ]

    def _shown(self, row: Row) -> str:
        return self.show.render(row) if self.show else str(row[self.spec.field])
