"""The shape of how replies are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from synth.core.records import Fields, Sampling
from synth.inputs.strict_model import Clear, Name, Strict, no_names

# How long a model thinks; which of these a model knows, its provider says.
Effort = Literal[
    "none", "minimal", "low", "medium", "high", "xhigh", "max", "default"
]


class ReasoningSpec(Strict):
    """How a model thinks before it answers, and whether its thoughts are kept."""

    effort: Effort | None = Field(
        default=None,
        description="How long the model thinks, as `sampling.reasoning_effort`; `none` for not at "
        "all.",
        examples=["low"],
    )
    budget: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Tokens that its thoughts may take. They are part of `max_tokens`, which must "
        "be more. A provider that knows no budget is asked with the nearest effort.",
        examples=[2048],
    )
    keep: Name | None = Field(
        default=None,
        description="Name of the field that holds the thoughts, apart from the answer. Without "
        "it they stay in the journal alone.",
        examples=["thoughts"],
    )


class SamplingSpec(Strict):
    """Sampling of a step; `extra` passes provider fields that have no name here."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="How random a draw is, from 0 to 2.",
        examples=[0.7],
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Tokens are drawn from the likeliest ones that together have this probability.",
        examples=[0.9],
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Most tokens of a reply; `--budget` needs it.",
        examples=[512],
    )
    stop: list[str] | None = Field(
        default=None,
        description="Texts at which the reply ends.",
        examples=[["\n", "."]],
    )
    seed: int | None = Field(
        default=None,
        description="Seed of the teacher's draws; draw k of a step asks with seed + k.",
        examples=[17],
    )
    presence_penalty: float | None = Field(
        default=None,
        description="What a token that already stands in the reply loses, once.",
        examples=[0.5],
    )
    frequency_penalty: float | None = Field(
        default=None,
        description="What a token loses for each time that it already stands in the reply.",
        examples=[0.5],
    )
    logprobs: bool | None = Field(
        default=None,
        description="Whether the reply comes with the log-probability of each token.",
        examples=[True],
    )
    top_logprobs: int | None = Field(
        default=None,
        description="How many likely tokens come with their log-probabilities at each place.",
        examples=[5],
    )
    reasoning_effort: Effort | None = Field(
        default=None,
        description="How long a model thinks; the provider says which of these words it knows.",
        examples=["low"],
    )
    extra: Annotated[Fields, Clear] = Field(
        default_factory=no_names,
        description="Sampling fields that have no name here and that a backend documents.",
        examples=[{"top_k": 20}],
    )

    def record(self) -> Sampling:
        """The frozen record of the line."""
        values = self.model_dump()
        return Sampling(
            **{
                **values,
                "stop": tuple(self.stop) if self.stop is not None else None,
            }
        )
