"""Rows of a user's file that are near a text: by words (BM25) or by sentence vectors."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from synth.errors import WrongUse, did_you_mean
from synth.records import Row
from synth.search import Index, open_index
from synth.seeds import read_rows
from synth.templates import Template, Templates

if TYPE_CHECKING:
    from synth.pack_schema import RetrieveSpec


class Shelf:
    """The rows that a pack retrieves from.

    Raises:
        WrongUse: no file, or rows without the field.
    """

    def __init__(self, spec: RetrieveSpec, folder: Path) -> None:
        self.spec = spec
        if not spec.file:
            raise WrongUse("retrieve.file", "none", "a file to retrieve from", "Give it: --set retrieve.file=FILE.")
        beside = folder / spec.file  # a pack may bring a sample of its own
        self.rows = list(read_rows(beside if beside.is_file() else spec.file))
        for place, row in enumerate(self.rows, 1):
            if not isinstance(row.get(spec.field), str):
                raise WrongUse(
                    f"{spec.file} row {place}", f"columns {', '.join(row)}", f"text in {spec.field!r}", did_you_mean(spec.field, row)
                )
        self.texts = tuple(str(row[spec.field]) for row in self.rows)
        self.show: Template | None = Templates().compile(spec.show, "retrieve.show") if spec.show else None

    @cached_property
    def index(self) -> Index:
        """The search over the texts, made when the first one is looked for."""
        return open_index(self.texts, self.spec.by)

    def near(self, fields: Row) -> list[str]:
        """The nearest rows as texts; a row that says just what the seed says is passed over."""
        text = str(fields.get(self.spec.query) or "")
        hits = self.index.best([text], 2 * self.spec.most + 10)[0]
        found = [place for place, _ in hits if self.texts[place].strip().casefold() != text.strip().casefold()]
        return [self._shown(self.rows[place]) for place in found[: self.spec.most]]

    def _shown(self, row: Row) -> str:
        return self.show.render(row) if self.show else str(row[self.spec.field])
