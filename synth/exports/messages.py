"""Whole conversations, for students that keep their system message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.exports.base import (
    Export,
    behind_thoughts,
    render,
    spec_of,
    thoughts_of,
)
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
        thoughts: `without`; `tags` for what the teacher thought between `<think>` marks before the
            last message; or `apart` for a key `reasoning_content` beside its content, which chat
            templates of models that think read. A step keeps it with `reasoning.keep`.
    """

    system: str = "keep"
    thoughts: Literal["without", "tags", "apart"] = "without"

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
        thought = (
            None
            if self.thoughts == "without"
            else thoughts_of(pack, f"--to messages:thoughts={self.thoughts}")
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
                said = row.get(thought) if thought else None
                messages[-1] = self._thinking(messages[-1], said)
                yield {"id": row["id"], "messages": messages}

    def _thinking(self, message: dict[str, str], thoughts: Any) -> Fields:
        """The last message with what was thought before it."""
        if not thoughts:
            return message
        if self.thoughts == "apart":
            return {**message, "reasoning_content": str(thoughts)}
        text = behind_thoughts(message["content"], thoughts)
        return {**message, "content": text}


def _of_talk(values: Row, each: str) -> list[tuple[str, str]]:
    """(role, content) of the turns of a talk, up to the assistant's last one."""
    turns = [
        (str(turn.get("role")), str(turn.get("content")))
        for turn in elements(values, each)
    ]
    while turns and turns[-1][0] != "assistant":
        turns.pop()
    return turns
