"""The shape of tools: functions that a step's teacher may call, and a small world of a pack's own
that answers them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from synth.core.records import Fields
from synth.inputs.strict_model import Clear, Name, Strict, no_names

# Calls of tools in one conversation.
MOST_CALLS = 64
# Seconds of one call, unless the user allows more.
SECONDS = 10.0
_TOOL = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"

ToolName = Annotated[str, Field(pattern=_TOOL)]
Scalar = Annotated[str | float | bool, Clear]


class ToolSpec(Strict):
    """One function that a teacher may call."""

    name: ToolName = Field(
        description="Name of the function, in letters, digits and `_`.",
        examples=["find_book"],
    )
    description: str = Field(
        max_length=4000,
        description="What it does, for the teacher.",
        examples=["Says where a book stands."],
    )
    parameters: Fields = Field(
        default_factory=no_names,
        description="JSON Schema of its arguments, an object; without one it takes none.",
        examples=[
            {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
            }
        ],
    )
    seconds: float = Field(
        default=SECONDS,
        gt=0,
        le=3600,
        description="Seconds that one call may take. Only the user may say more than 10.",
        examples=[5],
    )


class RuleSpec(Strict):
    """What one kind of call does to the world."""

    tool: ToolName = Field(
        description="Tool whose calls the rule is about.",
        examples=["lend_book"],
    )
    when: str = Field(
        default="yes",
        description="A template; where it renders to nothing, `False` or `None`, the next rule is "
        "tried.",
        examples=["{{ state[arguments.title] == 'in' }}"],
    )
    set: dict[str, str] = Field(
        default_factory=no_names,
        description="Entries of the state that the call writes: templates of their names and "
        "their texts. An empty text takes an entry away.",
        examples=[{"{{ arguments.title }}": "lent to {{ arguments.reader }}"}],
    )
    answer: str = Field(
        description="Template of what the tool answers; it sees the state as the call left it.",
        examples=["Lent."],
    )


class WorldSpec(Strict):
    """A simulated environment: a state, and what calls do to it."""

    start: Name | dict[str, Scalar] = Field(
        description="The state in the beginning: entries with their texts, or the name of an "
        "input, a constant or a field that holds such a mapping or its JSON.",
        examples=["shelf"],
    )
    into: Name = Field(
        default="state",
        description="Field that holds the state in the end.",
        examples=["shelf_after"],
    )
    rules: Annotated[list[RuleSpec], Field(min_length=1)] = Field(
        description="The rules; of those about the tool that is called, the first whose `when` "
        "holds is applied.",
        examples=[[{"tool": "look", "answer": "{{ state | tojson }}"}]],
    )
