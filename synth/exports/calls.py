"""Turns of an assistant with tools, one by one: what it should call next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.exports.base import Export
from synth.exports.messages import Messages
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Calls(Export):
    """One row `{id, prompt, completion, tools, target}` for each turn of the assistant in a
    conversation with tools. `prompt` has all messages before the turn, `completion` the turn, and
    `target` the calls of it as JSON, `[]` where it calls nothing. `finetune evaluate --measure
    calls` asks a student for the turn and compares.
    """

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows, in the order of the run.

        Raises:
            WrongUse: the pack exports no conversations with tools.
        """
        for row in Messages().rows(run, pack):
            if "tools" not in row:
                raise WrongUse(
                    "--to calls",
                    f"pack {pack.name}, whose messages are of no step with tools",
                    "a messages export with `each`, the name of a step with tools",
                    "See `synth show`.",
                )
            messages = row["messages"]
            for place, message in enumerate(messages):
                if message["role"] != "assistant":
                    continue
                yield {
                    "id": f"{row['id']}-{place}",
                    "prompt": messages[:place],
                    "completion": [message],
                    "tools": row["tools"],
                    "target": _target(message),
                }


def _target(message: Row) -> str:
    """The calls of a turn, as a text that no column of other rows changes."""
    calls = message.get("tool_calls") or []
    return json.dumps([call["function"] for call in calls], ensure_ascii=False)
