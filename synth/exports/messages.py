"""Whole conversations, for students that keep their system message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.core.strict_json import loads
from synth.exports.base import (
    Export,
    behind_thoughts,
    pictures_of,
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
    assistant says nothing makes no row. Where the turns are those of a step with tools, a row has
    `tools` as well, as JSON text; its calls have their arguments as mappings.

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
            messages = [_turn("system", system)] if system else []
            each = spec_of(pack, "messages", "--to messages").each
            if each:
                messages += _of_talk(values, each)
            else:
                messages.append(_turn("user", texts["prompt"]))
                messages.append(_turn("assistant", texts["completion"]))
            if messages and messages[-1]["role"] == "assistant":
                said = row.get(thought) if thought else None
                messages[-1] = self._thinking(messages[-1], said)
                more = {**_tools(pack, each), **pictures_of(row, pack)}
                yield {"id": row["id"], "messages": messages, **more}

    def _thinking(self, message: Fields, thoughts: Any) -> Fields:
        """The last message with what was thought before it."""
        if not thoughts:
            return message
        if self.thoughts == "apart":
            return {**message, "reasoning_content": str(thoughts)}
        text = behind_thoughts(message["content"], thoughts)
        return {**message, "content": text}


def _turn(role: str, content: str) -> Fields:
    return {"role": role, "content": content}


def _tools(pack: Pack, each: str | None) -> Fields:
    """{"tools": JSON text} of the step whose turns are exported, {} where it has none."""
    for step in pack.steps:
        if step.tooling and step.name == each:
            declared = list(step.tooling.declared)
            return {"tools": json.dumps(declared, ensure_ascii=False)}
    return {}


def _of_talk(values: Row, each: str) -> list[Fields]:
    """The turns of a talk, up to what the assistant says last."""
    messages = [_message(turn) for turn in elements(values, each)]
    while messages and not _ends(messages[-1]):
        messages.pop()
    return messages


def _ends(message: Row) -> bool:
    """Whether a conversation may end with a message."""
    return message["role"] == "assistant" and "tool_calls" not in message


def _message(turn: Row) -> Fields:
    """One turn with the calls that it makes, or with the call that it answers."""
    message = _turn(str(turn.get("role")), str(turn.get("content")))
    calls = turn.get("tool_calls")
    if calls:
        # A run's folder holds them as text.
        listed = loads(calls) if isinstance(calls, str) else calls
        message["tool_calls"] = [_call(call) for call in listed]
    answered = turn.get("tool_call_id")
    if answered:
        message["tool_call_id"] = str(answered)
    return message


def _call(call: Row) -> Fields:
    """A call with its arguments as a mapping, as chat templates read them."""
    function = call["function"]
    arguments = loads(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}}
