"""The shape of talks: turns that stand before a question, and a second speaker."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from synth.inputs.strict_model import Name, Strict
from synth.packs.sampling_schema import SamplingSpec

# Replies of the assistant in one talk; every one of them is a call, with all before it.
MOST_TURNS = 64


class TurnSpec(Strict):
    """One turn of the conversation that goes before the step's question."""

    user: str | None = Field(
        default=None,
        description="Template of what the user says.",
        examples=["Solve this: {{ question }}"],
    )
    assistant: str | None = Field(
        default=None,
        description="Template of what the assistant says: a fixed text, or the reply that an "
        "earlier step read.",
        examples=["{{ draft }}"],
    )

    @model_validator(mode="after")
    def _one_speaker(self) -> Self:
        if (self.user is None) == (self.assistant is None):
            raise ValueError("either `user` or `assistant`")
        return self

    @property
    def said(self) -> tuple[str, str]:
        """Who speaks, and the template of it."""
        if self.user is not None:
            return "user", self.user
        return "assistant", str(self.assistant)


class TalkSpec(Strict):
    """A second speaker, who plays the user: to it the turns of the talk are swapped, so that what
    the user says is its own, and what the step's teacher says is said to it.
    """

    teacher: Name = Field(
        description="Role that plays the user; the user names its model with "
        "`--teacher ROLE=MODEL`.",
        examples=["asker"],
    )
    turns: Annotated[int, Field(ge=1, le=MOST_TURNS)] = Field(
        description="Most replies of the step's teacher in a talk.",
        examples=[4],
    )
    stop: str = Field(
        default="",
        description="A text with which either speaker ends the talk. It is cut off with what "
        "follows it; what the second speaker says before it falls away too, since nobody answers "
        "it.",
        examples=["<end>"],
    )
    sampling: SamplingSpec = Field(
        default_factory=SamplingSpec,
        description="How the second speaker's replies are drawn.",
        examples=[{"temperature": 1.0, "max_tokens": 200}],
    )
