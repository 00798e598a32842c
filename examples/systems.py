"""The table of docs/systems.md, out of the folders of packs and flows: each `systems.yaml` says
what its folder serves, and prompts/systems.yaml what needs no folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from synth.core.strict_yaml import read_yaml
from synth.packs.files import SYSTEMS
from synth.packs.pack import built_in

_HEAD = ("system", "paper", "pack", "training", "run here")


class System(BaseModel):
    """A published system, and what serves it.

    Attributes:
        system: its name, or those of several.
        papers: numbers of arXiv; the first one says where it stands in the table.
        data: packs, filters and exports that make its rows.
        training: commands that train and measure.
        tried: what was run here.
        folder: whose file names it; "" for that of all folders.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = Field(min_length=1)
    papers: list[str] = Field(default_factory=list)
    data: str = ""
    training: str = ""
    tried: str = Field(min_length=1)
    folder: str = ""


def files() -> list[Path]:
    """Every file with rows."""
    root = built_in()
    return [*sorted(root.glob(f"*/{SYSTEMS}")), root / SYSTEMS]


def systems() -> list[System]:
    """All systems in the order of their papers; those without a paper stand last."""
    return sorted(_read(), key=_place)


def _read() -> Iterator[System]:
    listed = TypeAdapter(list[System])
    for path in files():
        inside = path.parent != built_in()
        folder = path.parent.name if inside else ""
        for row in listed.validate_python(read_yaml(path)[0]["systems"]):
            yield row.model_copy(update={"folder": folder})


def _place(row: System) -> tuple[str, str]:
    # Four digits of year and month, a point, a number: as texts they stand in their order.
    first = row.papers[0] if row.papers else "without a paper"
    return first, row.system


def table() -> str:
    """The table as Markdown."""
    lines = [
        f"| {' | '.join(_HEAD)} |",
        "|" + "---|" * len(_HEAD),
    ]
    for row in systems():
        cells = (
            row.system,
            ", ".join(row.papers),
            row.data,
            row.training,
            row.tried,
        )
        text = "|".join(_cell(cell) for cell in cells)
        lines.append(f"|{text}|")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f" {escaped} " if text else " "
