"""Several tasks per kept row, for students that learn the label and the rationale side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.exports.base import Export, render
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Multitask(Export):
    """One row `{id, task, prompt, completion}` per task of the pack and kept row
    (arXiv:2305.02301).

    Args:
        tasks: names of the tasks to write; all of the pack's where empty.
    """

    tasks: tuple[str, ...] = ()

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows: the tasks of a row stand together, in the pack's order."""
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
        for row in run.rows():
            for task in self.tasks or tasks:
                yield {
                    "id": row["id"],
                    "task": task,
                    **render(tasks[task], pack.values(row)),
                }
