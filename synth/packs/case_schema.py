"""What cases.yaml may hold: inputs with recorded replies, and what becomes of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from synth.core.records import Fields
from synth.inputs.strict_model import NAME, Strict, no_names, no_parts

# A step, the second speaker of its talk, or who plays its tools: `chat`, `chat.second`,
# `chat.tool`.
StepName = Annotated[str, Field(pattern=rf"^{NAME}(\.second|\.tool)?$")]


class CallSpec(Strict):
    """A call of a tool in a recorded reply."""

    name: str = Field(
        description="The tool.",
        examples=["find_book"],
    )
    arguments: Fields | str = Field(
        default_factory=no_names,
        description="Its arguments, or the text in their place.",
        examples=[{"title": "Emma"}],
    )


class ReplySpec(Strict):
    """A reply that a teacher gave, or might give, with what the step's parser makes of it."""

    text: str = Field(
        default="",
        description="The reply as it comes; it may be empty where it calls tools.",
        examples=["2 and 3 are 5.\n#### 5"],
    )
    step: StepName | None = Field(
        default=None,
        description="The step that is answered; without it, the first one.",
        examples=["judge"],
    )
    fields: Fields | None = Field(
        default=None,
        description="Fields that the parser reads; it may read others besides.",
        examples=[{"answer": "5"}],
    )
    reason: str | None = Field(
        default=None,
        description="Why the parser does not read the reply.",
        examples=["no_answer_marker"],
    )
    calls: list[CallSpec] = Field(
        default_factory=no_parts,
        description="Tools that the reply calls. `reason` then says why the first of them cannot "
        "be answered: `unknown_tool` or `bad_arguments`.",
        examples=[[{"name": "find_book", "arguments": {"title": "Emma"}}]],
    )
    finish_reason: str | None = Field(
        default=None,
        description="For `rehearsed/PACK`: how the reply ended; without it, `stop`.",
        examples=["length"],
    )
    where: Fields | None = Field(
        default=None,
        description="For `rehearsed/PACK`: the reply answers questions whose values are these; "
        "without it, any.",
        examples=[{"document": "The mill was built in 1820."}],
    )


class CaseSpec(Strict):
    """A row of inputs, replies to it, and what `synth check` holds the pack to."""

    about: str = Field(
        default="",
        description="What the case shows, for its readers.",
        examples=["a sum in words"],
    )
    inputs: Fields = Field(
        description="The seed.",
        examples=[{"question": "What is 2 + 3?"}],
    )
    fields: Fields = Field(
        default_factory=no_names,
        description="Fields of earlier steps that templates and parsers see.",
        examples=[{"plan": "Add both."}],
    )
    renders: dict[StepName, str] = Field(
        default_factory=no_names,
        description="For a step, a text that stands in its rendered question.",
        examples=[{"rationale": "What is 2 + 3?"}],
    )
    replies: list[ReplySpec] = Field(
        default_factory=no_parts,
        description="Recorded replies, each with `fields` or `reason`. Of all cases together, one "
        "must fail.",
        examples=[[{"text": "#### 5", "fields": {"answer": "5"}}]],
    )
    set: Fields = Field(
        default_factory=no_names,
        description="Changes of the pack for `ends`, as `--set` makes them.",
        examples=[{"rationale.draws": 1}],
    )
    ends: dict[str, int] | None = Field(
        default=None,
        description="How many rows are kept and how many leave for each reason, where the "
        "recorded replies answer all steps.",
        examples=[{"kept": 1}],
    )


class CasesSpec(Strict):
    """A whole cases.yaml."""

    cases: list[CaseSpec] = Field(
        default_factory=no_parts,
        description="The cases.",
        examples=[[{"inputs": {"question": "What is 2 + 3?"}}]],
    )
