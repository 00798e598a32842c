"""The shape of pack.yaml: what a pack may say, with which names. Unknown keys are refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from synth.answers.choices import has_labels
from synth.core.errors import printable
from synth.core.records import Fields, Sampling
from synth.inputs.made.spec import SeedsSpec
from synth.inputs.strict_model import Clear, Name, Strict, no_names, no_parts
from synth.packs.choice_schema import (
    CHOSEN,
    LISTED,
    NAMED_ONES,
    ONE,
    ChosenDemonstrationsSpec,
    DemonstrationSpec,
    PoolSpec,
    RetrieveSpec,
    kind_of_demonstrations,
    kind_of_retrieve,
)
from synth.packs.export_schema import ExportSpec
from synth.packs.sampling_schema import ReasoningSpec, SamplingSpec
from synth.packs.talk_schema import TalkSpec, TurnSpec
from synth.packs.tool_schema import MOST_CALLS, ToolSpec, WorldSpec


def _line(value: Any) -> Any:
    """A text on one line, once nothing in it acts on a terminal or hides."""
    if not isinstance(value, str):
        return value
    if printable(value) != value:
        raise ValueError(
            f"has signs that act or hide: {printable(value)[:200]}"
        )
    return " ".join(value.split())


Line = Annotated[str, BeforeValidator(_line), Field(max_length=2000)]
Dollars = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(,\d+(\.\d+)?){1,2}$")]
Kind = Literal["text", "number", "list", "any"]
_PYTHON: dict[str, tuple[type, ...]] = {
    "text": (str, int, float),
    "number": (int, float),
    "list": (list,),
    "any": (object,),
}


class InputSpec(Strict):
    """One input: `text` or `optional` in short, or type, optional and the column names that also
    serve (`from`).
    """

    type: Kind = Field(
        default="text",
        description="What a seed's value must be: `text` (a string or a number), `number`, `list` "
        "or `any`.",
        examples=["list"],
    )
    optional: bool = Field(
        default=False,
        description="Whether a seed may lack the value; templates then see None.",
        examples=[True],
    )
    aliases: list[str] = Field(
        default_factory=no_parts,
        alias="from",
        description="Names of columns that serve where the rows have no column of the input's "
        "name; the first that the rows have is read.",
        examples=[["answer", "gold"]],
    )

    def fits(self, value: Any) -> bool:
        """Whether a seed's value has the declared type."""
        return isinstance(value, _PYTHON[self.type]) or (
            self.type == "list" and has_labels(value)
        )


def _input(value: Any) -> Any:
    if value == "optional":
        return {"type": "any", "optional": True}
    return {"type": value} if isinstance(value, str) else value


_AnInput = BeforeValidator(
    _input, json_schema_input_type=Kind | Literal["optional"] | InputSpec
)


def _one_or_many(value: Any) -> Any:
    many = value if isinstance(value, list) else [value]
    return [{"name": part} if isinstance(part, str) else part for part in many]


def _each(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    return value


Part = str | Fields
Parts = Annotated[
    list[Fields],
    BeforeValidator(_one_or_many, json_schema_input_type=Part | list[Part]),
]
# A list and what its elements are called: `{choices: choice}`.
ListAndItem = Annotated[
    tuple[str, str],
    BeforeValidator(_each, json_schema_input_type=dict[str, str]),
]


Demonstrations = Annotated[
    Annotated[list[DemonstrationSpec], Tag(LISTED)]
    | Annotated[ChosenDemonstrationsSpec, Tag(CHOSEN)],
    Discriminator(kind_of_demonstrations),
]
Retrieves = Annotated[
    Annotated[RetrieveSpec, Tag(ONE)]
    | Annotated[dict[Name, RetrieveSpec], Tag(NAMED_ONES)],
    Discriminator(kind_of_retrieve),
]


class StepSpec(Strict):
    """One step: a question with its sampling, draws, parser and filters."""

    name: Name = Field(
        description="Name of the step: its templates are `NAME.user.j2` and, where there is one, "
        "`NAME.system.j2`.",
        examples=["rationale"],
    )
    teacher: Name = Field(
        default="teacher",
        description="Role that answers; the user names its model with `--teacher ROLE=MODEL`.",
        examples=["critic"],
    )
    demonstrations: Demonstrations = Field(
        default_factory=no_parts,
        description="Questions and replies that go before the row's own question, each as a turn "
        "of the user and one of the assistant. Small models keep to a form that is shown so. A "
        "list is shown whole; a mapping says which are chosen for each row.",
        examples=[
            [{"given": {"question": "What is 2 + 3?"}, "reply": "#### 5"}],
        ],
    )
    turns: list[TurnSpec] = Field(
        default_factory=no_parts,
        description="Turns of the user and of the assistant, in turns, that go before the step's "
        "question: a conversation which the question carries on.",
        examples=[[{"user": "{{ question }}"}, {"assistant": "{{ draft }}"}]],
    )
    talk: TalkSpec | None = Field(
        default=None,
        description="A second speaker, with whom the step's teacher talks: the step's question is "
        "what the user says first. The turns become a list with the step's name, of `role` "
        "(`user`, `assistant`) and `content`. The parser reads every reply of the step's teacher; "
        "the fields of the last one stay.",
        examples=[{"teacher": "asker", "turns": 4, "stop": "<end>"}],
    )
    tools: list[ToolSpec] = Field(
        default_factory=no_parts,
        description="Functions that the step's teacher may call before it answers. The turns "
        "become a list with the step's name, of `role`, `content`, `tool_calls` and "
        "`tool_call_id`. The parser reads the reply that calls nothing.",
        examples=[[{"name": "now", "description": "Says what time it is."}]],
    )
    images: list[Name] = Field(
        default_factory=no_parts,
        description="Inputs whose values name images: a path below the user's `--image-root`, or a "
        "URL where `--image-urls` allows it; a list holds several. The question shows them behind "
        "its text. A list with the step's name and `_pictures` says which they were, by `source` "
        "and `sha256`.",
        examples=[["photo"]],
    )
    most_calls: Annotated[int, Field(ge=1, le=MOST_CALLS)] = Field(
        default=8,
        description="Calls of tools in one conversation at most; mistaken ones count.",
        examples=[4],
    )
    world: WorldSpec | None = Field(
        default=None,
        description="A simulated environment, which answers the tools that it has rules for.",
        examples=[
            {
                "start": {"door": "shut"},
                "rules": [
                    {
                        "tool": "open",
                        "set": {"door": "open"},
                        "answer": "It is open.",
                    }
                ],
            }
        ],
    )
    repairs: int = Field(
        0,
        ge=0,
        le=3,
        description="Times that a reply which cannot be read is shown to the teacher, with what "
        "is wrong with it, and asked again. A refusal or a reply that was cut off is not.",
        examples=[1],
    )
    sampling: SamplingSpec = Field(
        default_factory=SamplingSpec,
        description="How replies are drawn; what it does not say is left to the provider.",
        examples=[{"temperature": 0.7, "max_tokens": 512}],
    )
    reasoning: ReasoningSpec | None = Field(
        default=None,
        description="How a model that thinks does so: `effort`, `budget` and `keep`.",
        examples=[{"effort": "low", "keep": "thoughts"}],
    )
    draws: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="How many replies are drawn for each row, at most 1,024.",
        examples=[8],
    )
    each: ListAndItem | None = Field(
        default=None,
        description="`{LIST: ITEM}` asks once for each element of a list. Templates see the "
        "element as ITEM, its place as `index` and the answers so far as `history`; the answers "
        "become a list with the step's name.",
        examples=[{"choices": "choice"}],
    )
    spread: ListAndItem | None = Field(
        default=None,
        description="`{LIST: ITEM}` makes each element of a list a row of its own, which has the "
        "element as ITEM.",
        examples=[{"concepts": "concept"}],
    )
    gather: Name | None = Field(
        default=None,
        description="Name of a list: all rows of one seed that are left, be they draws or elements "
        "that were spread, become one row before the step, which has the fields of each of them "
        "as an element of the list. What was written before the rows parted stays in the row too.",
        examples=["attempts"],
    )
    parser: Parts = Field(
        default_factory=no_parts,
        description="What reads the reply: one parser or a list of them. The first whose field "
        "`when` the row has is used, else the last. A step needs it unless it has a `schema`.",
        examples=[
            [
                {"name": "option", "when": "choices"},
                {"name": "final_number"},
            ]
        ],
    )
    filters: Parts = Field(
        default_factory=no_parts,
        description="What decides, in this order, whether a row goes on: names, or names with "
        "parameters.",
        examples=[["finish_reason", {"name": "length", "most": 300}]],
    )
    # `schema` would hide a method of pydantic's.
    reply_schema: Fields | str | None = Field(
        default=None,
        alias="schema",
        description="In place of a parser: what a reply must be, as a JSON Schema, the name of a "
        "`.json` file in the pack's folder, or `module:Model` of a pydantic model that the user "
        "allows. Its properties become fields of the row.",
        examples=[
            {
                "type": "object",
                "properties": {"score": {"type": "integer"}},
                "required": ["score"],
            }
        ],
    )
    response_format: Fields | None = Field(
        default=None,
        description="The form that the provider holds the reply to; a JSON Schema in it refers to "
        "nothing outside.",
        examples=[{"type": "json_object"}],
    )
    rescues: Name | None = Field(
        default=None,
        description="An earlier step. Where it keeps no draw of a row, this step asks about the "
        "first one that was dropped, which templates see as `attempt`.",
        examples=["attempt"],
    )
    until: str = Field(
        default="",
        description="A template of a step with `each`: the walk ends before the first element for "
        "which it renders to something else than nothing, `False` or `None`.",
        examples=["{{ index >= 3 }}"],
    )
    set: dict[Name, str] = Field(
        default_factory=no_names,
        description="Fields that templates write into the row before the step asks.",
        examples=[{"subject": "{{ question | upper }}"}],
    )
    then: dict[Name, str] = Field(
        default_factory=no_names,
        description="Fields that templates write into the row once the reply is read (with `each`, "
        "all replies), before the filters: a sum of grades, a verdict by vote.",
        examples=[
            {
                "grade": "{{ grades | map(attribute='grade') | map('int') | sum }}"
            }
        ],
    )

    @model_validator(mode="after")
    def _one_thinker(self) -> Self:
        thinking = self.reasoning
        if thinking is None:
            return self
        if thinking.effort and self.sampling.reasoning_effort:
            raise ValueError(
                "`reasoning.effort` or `sampling.reasoning_effort`, not both"
            )
        most = self.sampling.max_tokens
        if thinking.budget and most is not None and thinking.budget >= most:
            raise ValueError(
                f"`reasoning.budget` of {thinking.budget:,} leaves nothing of `max_tokens`, "
                f"{most:,}: thoughts are part of it"
            )
        return self

    @property
    def drawing(self) -> Sampling:
        """The frozen record of how replies are drawn, thoughts included."""
        record = self.sampling.record()
        if self.reasoning is None:
            return record
        effort = self.reasoning.effort or record.reasoning_effort
        budget = self.reasoning.budget
        return replace(record, reasoning_effort=effort, thinking_tokens=budget)

    @model_validator(mode="after")
    def _one_reader(self) -> Self:
        if self.reply_schema is None:
            if not self.parser:
                raise ValueError("a step needs a `parser` or a `schema`")
            return self
        if self.parser or self.response_format is not None:
            raise ValueError(
                "`schema` stands alone: it asks for the form and reads it, without `parser` "
                "and `response_format`"
            )
        return self


class PackSpec(Strict):
    """A whole pack.yaml."""

    name: Name = Field(
        description="Name of the pack, in small letters, digits and `_`.",
        examples=["capitals"],
    )
    version: int = Field(
        description="Version of the pack, for its readers.",
        examples=[1],
    )
    about: Line = Field(
        description="What the rows are, in a sentence; `synth list packs` prints it.",
        examples=["A question about each country, with its answer."],
    )
    paper: Line = Field(
        default="",
        description="The paper that the pack follows.",
        examples=["STaR, arXiv:2203.14465"],
    )
    inputs: dict[Name, Annotated[InputSpec, _AnInput]] = Field(
        description="What each seed has: a name with its type, with `optional`, or with the keys "
        "below.",
        examples=[{"question": "text", "choices": {"type": "list"}}],
    )
    seeds: SeedsSpec | None = Field(
        default=None,
        description="How rows are made where a run is given none.",
        examples=[{"rows": 100, "columns": {"topic": {"values": ["tea"]}}}],
    )
    prices: dict[str, Dollars] = Field(
        default_factory=no_names,
        description="Dollars per million tokens in and out, by teacher, as the author knows them. "
        "They are shown and never counted.",
        examples=[{"openai/gpt-4o-mini": "0.15,0.60"}],
    )
    constants: dict[Name, Annotated[Any, Clear]] = Field(
        default_factory=no_names,
        description="Values that every template sees; a list has at most 1,024 elements.",
        examples=[{"styles": ["plain", "formal"]}],
    )
    examples: list[Fields] = Field(
        default_factory=no_parts,
        description="Solved examples, which templates see as `examples`.",
        examples=[[{"question": "What is 2 + 2 ?", "answer": "4"}]],
    )
    low_yield: bool = Field(
        default=False,
        description="Whether few rows are kept by design: a run then goes on where its first "
        "seeds bring no row.",
        examples=[True],
    )
    retrieve: Retrieves | None = Field(
        default=None,
        description="Rows of a file, a list or a pool that are looked up for each seed; several "
        "such blocks have a name each.",
        examples=[{"query": "question", "field": "text"}],
    )
    pools: dict[Name, PoolSpec] = Field(
        default_factory=no_names,
        description="Rows that grow while a run goes, by name.",
        examples=[{"events": {"of": "first", "add": {"event": "{{ head }}"}}}],
    )
    steps: Annotated[list[StepSpec], Field(min_length=1)] = Field(
        description="The questions, in the order in which they are asked.",
        examples=[[{"name": "write", "parser": "whole"}]],
    )
    exports: ExportSpec = Field(
        default_factory=ExportSpec,
        description="What rows become for training; a key is a format of `synth export --to`.",
        examples=[
            {
                "sft": {
                    "prompt": "{{ question }}\n",
                    "completion": "{{ answer }}",
                }
            }
        ],
    )

    @cached_property
    def around(self) -> tuple[Fields, Fields]:
        """What templates see where a row says nothing of it, and what they see whatever a row
        says.
        """
        before: Fields = {
            name: None for name, spec in self.inputs.items() if spec.optional
        }
        before.update({block.into: [] for block in self.retrieves.values()})
        return before, {"examples": self.examples, **self.constants}

    @cached_property
    def retrieves(self) -> dict[str, RetrieveSpec]:
        """The blocks of `retrieve` by their place in the pack: `retrieve`, or `retrieve.NAME` where
        they have names, by which the list of what is shown is called, too.
        """
        if self.retrieve is None:
            return {}
        if isinstance(self.retrieve, RetrieveSpec):
            return {"retrieve": self.retrieve}
        blocks = {}
        for name, block in self.retrieve.items():
            said = "into" in block.model_fields_set
            into = block.into if said else name
            blocks[f"retrieve.{name}"] = block.model_copy(update={"into": into})
        return blocks
