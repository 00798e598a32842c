"""The tools of a validated step, compiled: their schemas within bounds, the rules of its world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Sampling
from synth.packs.schema import StepSpec
from synth.packs.step import Step, Tooling
from synth.packs.templates import Template
from synth.packs.tool_schema import ToolSpec
from synth.packs.tooling import Tool, parameters_of
from synth.packs.world import Rule, World, state_of
from synth.parsers.whole import Whole
from synth.verifiers.json_schema import JsonSchema

# What a teacher that plays a tool is told where the pack has no template for it.
PLAYED = """\
You play the tool {{ tool }} in a simulation: {{ about }}
{% for call in calls %}
Before, {{ call.tool }} was called with {{ call.arguments }} and answered: {{ call.answer }}
{% endfor %}
Now it is called with these arguments:
{{ arguments }}
Write what the tool would answer, in agreement with all its answers before, and nothing else."""
# How its answers are drawn.
PLAYING = Sampling(max_tokens=512)


class Compiles(Protocol):
    """What a builder of packs does for the tools of a step; see `synth.packs.builder`."""

    def where(self, *at: Any) -> str:
        """pack.yaml:LINE of a path in it."""

    def file(self, name: str, extra: set[str]) -> Template | None:
        """A template of the folder, where it is there."""

    def inline(self, text: str, where: str, extra: set[str]) -> Template:
        """A template of pack.yaml."""

    def require(self, variable: str, extra: set[str], where: str) -> None:
        """Raises WrongUse where no input or earlier step declares a name."""

    def alone(self, step: Step, where: str, what: str) -> None:
        """Raises WrongUse where the step's turns cannot have its name."""


def with_tools(
    builder: Compiles,
    step: Step,
    spec: StepSpec,
    index: int,
    extra: set[str],
) -> Step:
    """The step with the functions that its teacher may call."""
    if not spec.tools:
        if spec.world:
            raise WrongUse(
                builder.where("steps", index, "world"),
                "a world without `tools`",
                "tools that it answers",
                "Declare them, or take it out.",
            )
        return step
    builder.alone(step, builder.where("steps", index, "tools"), "tools")
    tools: dict[str, Tool] = {}
    for place, one in enumerate(spec.tools):
        where = builder.where("steps", index, "tools", place)
        if one.name in tools:
            raise WrongUse(
                where,
                f"tool {one.name!r} twice",
                "each tool once",
                "Give one of them another name.",
            )
        tools[one.name] = _tool(one, where)
    name = f"{spec.name}.tool"
    seen = extra | {"tool", "about", "arguments", "calls"}
    user = builder.file(f"{name}.user.j2", seen)
    player = Step(
        name=name,
        role=spec.teacher,
        user=user or builder.inline(PLAYED, name, seen),
        system=builder.file(f"{name}.system.j2", seen),
        sampling=PLAYING,
        draws=spec.draws,
        each=None,
        parsers=(("", Whole(into="content")),),
        filters=(),
    )
    world = _world(builder, spec, index, extra, tools) if spec.world else None
    tooling = Tooling(tools, spec.most_calls, player, world)
    return replace(step, tooling=tooling)


def _tool(spec: ToolSpec, where: str) -> Tool:
    """One tool, the schema of its arguments within bounds."""
    try:
        parameters = parameters_of(spec.parameters)
    except ValueError as error:
        raise WrongUse(
            where,
            str(error),
            "a JSON Schema of the arguments",
            "docs/packs.md says what a schema may hold.",
        ) from error
    JsonSchema().why({}, parameters)
    return Tool(spec.name, spec.description, parameters, spec.seconds)


def _world(
    builder: Compiles,
    spec: StepSpec,
    index: int,
    extra: set[str],
    tools: Mapping[str, Tool],
) -> World:
    """The simulated environment of a step."""
    said = spec.world
    assert said is not None  # noqa: S101 - the caller looked
    at = ("steps", index, "world")
    start: str | dict[str, str]
    if isinstance(said.start, str):
        builder.require(said.start, extra, builder.where(*at, "start"))
        start = said.start
    else:
        start = state_of(said.start, builder.where(*at, "start"))
    seen = extra | {"arguments", "state"}
    rules = []
    for place, rule in enumerate(said.rules):
        where = builder.where(*at, "rules", place)
        if rule.tool not in tools:
            raise WrongUse(
                where,
                f"tool {rule.tool!r}",
                "a tool of the step",
                did_you_mean(rule.tool, tools),
            )
        sets = [
            (
                builder.inline(name, where, seen),
                builder.inline(text, where, seen),
            )
            for name, text in rule.set.items()
        ]
        when = builder.inline(rule.when, where, seen)
        answer = builder.inline(rule.answer, where, seen)
        rules.append(Rule(rule.tool, when, tuple(sets), answer))
    return World(start, said.into, tuple(rules))
