"""Conversations as trajectories of agents, in the Agent Trajectory Interchange Format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.records import Fields, Row, Values
from synth.exports.base import Export
from synth.exports.messages import Messages
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder

VERSION = "ATIF-v1.4"
_SOURCES = {"assistant": "agent"}


@dataclass(frozen=True, kw_only=True)
class Atif(Export):
    """One trajectory `{schema_version, session_id, agent, steps}` per kept row, from its messages.
    A step of the agent has its calls, and what the tools answered as its observation.
    `synth seeds --logs FILE` reads the messages back.
    """

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Trajectories, in the order of the run.

        Raises:
            WrongUse: the pack has no `messages` export.
        """
        models = run.run["settings"].get("teachers") or {}
        teachers = sorted(set(models.values()))
        # Thoughts stand apart where a step keeps them.
        messages = Messages()
        if any(step.keeps for step in pack.steps):
            messages = Messages(thoughts="apart")
        for row in messages.rows(run, pack):
            yield {
                "schema_version": VERSION,
                "session_id": row["id"],
                "agent": {
                    "name": f"potstill/{pack.name}",
                    "version": str(pack.spec.version),
                    "model_name": ", ".join(teachers),
                },
                "steps": list(steps_of(row["messages"])),
            }


def steps_of(messages: list[Fields]) -> Iterator[Fields]:
    """The steps of a conversation, numbered from 1; answers of tools belong to the step before.

    >>> list(steps_of([{"role": "user", "content": "Hi"}]))
    [{'step_id': 1, 'source': 'user', 'message': 'Hi'}]
    """
    step: Fields = {}
    number = 0
    for message in messages:
        if message["role"] == "tool" and step:
            observation = step.setdefault("observation", {"results": []})
            observation["results"].append(_result(message))
            continue
        if step:
            yield step
        number += 1
        step = _step(number, message)
    if step:
        yield step


def _step(number: int, message: Row) -> Fields:
    role = message["role"]
    step: Fields = {
        "step_id": number,
        "source": _SOURCES.get(role, role),
        "message": message["content"],
    }
    thought = message.get("reasoning_content")
    if thought:
        step["reasoning_content"] = thought
    calls = message.get("tool_calls")
    if calls:
        step["tool_calls"] = [_call(call) for call in calls]
    return step


def _call(call: Values) -> Fields:
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return {
        "tool_call_id": call["id"],
        "function_name": function["name"],
        "arguments": arguments,
    }


def _result(message: Row) -> Fields:
    return {
        "source_call_id": message.get("tool_call_id", ""),
        "content": message["content"],
    }
