"""Several tasks per kept row, for students that learn the label and the rationale side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.exports.base import Export, render
from synth.exports.base_retrieval import elements
from synth.packs.pack import Pack
from synth.packs.templates import NOTHING
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Multitask(Export):
    """One row `{id, task, prompt, completion}` per task of the pack and kept row
    (arXiv:2305.02301); of a task with `each`, one per element of its list.

    Args:
        tasks: names of the tasks to write; all of the pack's where empty.
    """

    tasks: tuple[str, ...] = ()

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows: the tasks of a row stand together, in the pack's order, and the elements
        of a task in that of their list.
        """
        tasks = pack.exports.get("multitask", {})
        unknown = [task for task in self.tasks if task not in tasks]
        if not tasks or unknown:
            got = (
                f"task {unknown[0]!r}"
                if unknown
                else f"pack {pack.name} without a multitask export"
            )
            raise WrongUse(
                "--to multitask",
                got,
                "tasks of the pack",
                f"It has: {', '.join(tasks) or 'none'}.",
            )
        specs = pack.spec.exports.multitask
        for row in run.rows():
            values = pack.values(row)
            for task in self.tasks or tasks:
                for seen in _each(values, specs[task].each):
                    sides = render(tasks[task], seen)
                    if sides.pop("when").strip() not in NOTHING:
                        yield {"id": row["id"], "task": task, **sides}


def _each(values: Row, each: str | None) -> Iterator[Row]:
    """What the templates of a task see: the row, or the row and each element of its list."""
    if each is None:
        yield values
        return
    for element in elements(values, each):
        yield {**values, **element}
