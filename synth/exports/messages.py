"""Whole conversations, for students that keep their system message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.exports.base import Export, render, spec_of
from synth.exports.base_retrieval import elements
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Messages(Export):
    """One row `{id, messages}` per kept row: system, user, assistant, as TRL's SFTTrainer reads
    conversations. Of a talk it has all turns up to the assistant's last one; a talk in which the
    assistant says nothing makes no row.

    Args:
        system: `keep`, or `erase` to train without it (prompt erasure, Orca 2, arXiv:2311.11045,
            section 3.1).
    """

    system: str = "keep"

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows, in the order of the run.

        Raises:
            WrongUse: the pack has no `messages` export.
        """
        templates = pack.exports.get("messages", {}).get("messages")
        if templates is None or self.system not in ("keep", "erase"):
            raise WrongUse(
                "--to messages",
                f"pack {pack.name}, system={self.system}",
                "a pack with a messages export, system=keep or erase",
                "See `synth show`.",
            )
        for row in run.rows():
            values = pack.values(row)
            texts = render(templates, values)
            system = texts["system"] if self.system == "keep" else ""
            turns = [("system", system)] if system else []
            each = spec_of(pack, "messages", "--to messages").each
            if each:
                turns += _of_talk(values, each)
            else:
                turns.append(("user", texts["prompt"]))
                turns.append(("assistant", texts["completion"]))
            if turns and turns[-1][0] == "assistant":
                messages = [
                    {"role": role, "content": text} for role, text in turns
                ]
                yield {"id": row["id"], "messages": messages}


def _of_talk(values: Row, each: str) -> list[tuple[str, str]]:
    """(role, content) of the turns of a talk, up to the assistant's last one."""
    turns = [
        (str(turn.get("role")), str(turn.get("content")))
        for turn in elements(values, each)
    ]
    while turns and turns[-1][0] != "assistant":
        turns.pop()
    return turns
