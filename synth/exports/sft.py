"""Prompt and completion, for supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from synth.core.records import Fields
from synth.exports.base import (
    Export,
    behind_thoughts,
    export_pair,
    pictures_of,
    render,
    thoughts_of,
)
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Sft(Export):
    """One row `{id, prompt, completion}` per kept row, as TRL's SFTTrainer reads it.

    Args:
        prompt: Jinja text in the place of the pack's own.
        completion: Jinja text in the place of the pack's own, e.g. `#### {{ answer }}` for answers
            alone.
        thoughts: `without`, or `tags` to put what the teacher thought between `<think>` marks
            before the completion, where a step keeps it (`reasoning.keep`).
        part: `data` (kept rows) or `dropped` (those that have the fields, with their `reason`).
    """

    prompt: str | None = None
    completion: str | None = None
    thoughts: Literal["without", "tags"] = "without"
    part: str = "data"

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        rewrite = self.prompt is not None or self.completion is not None
        pair = export_pair(pack, "--to sft", self.prompt, self.completion)
        thought = (
            thoughts_of(pack, "--to sft:thoughts=tags")
            if self.thoughts == "tags"
            else None
        )
        for row in run.rows(self.part):
            ready = row.get("completion") is not None
            texts = (
                render(pair, pack.values(row))
                if rewrite and ready
                else {side: row.get(side) for side in pair}
            )
            if ready and thought:
                said = str(texts["completion"])
                texts["completion"] = behind_thoughts(said, row.get(thought))
            if ready:
                yield {
                    "id": row["id"],
                    **texts,
                    **pictures_of(row, pack),
                    **(
                        {"reason": row["reason"]}
                        if self.part == "dropped"
                        else {}
                    ),
                }
