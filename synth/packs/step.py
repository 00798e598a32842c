"""One question of a pack, ready to be put to a teacher: Sample + step -> Request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from synth.core.errors import printable
from synth.core.records import (
    Call,
    Fields,
    Request,
    Row,
    Sampling,
    image_part,
    seed_id,
)
from synth.inputs.images import Gallery, Picture, unread
from synth.packs.templates import NOTHING, Template
from synth.packs.tooling import Misuse, Tool, arguments_of, is_role
from synth.packs.world import World
from synth.parsers.base import Parser
from synth.parsers.json_object import JsonObject
from synth.verifiers.json_schema import JsonSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synth.packs.choice_schema import ChosenDemonstrationsSpec

# Stands in rendered demonstrations where the fence of a request will be.
_FENCE = "\0fence\0"


class Demonstration(NamedTuple):
    """A worked turn that goes before the question.

    Attributes:
        values: what the user's template sees.
        reply: what the assistant answers.
    """

    values: Row
    reply: str


class Chosen(NamedTuple):
    """Demonstrations that are chosen for each row.

    Attributes:
        spec: where they are, and how they are chosen.
        reply: template of the assistant's turn.
    """

    spec: ChosenDemonstrationsSpec
    reply: Template


class Gathered(NamedTuple):
    """How the rows of one seed are joined.

    Attributes:
        into: name of the list.
        kinds: fields of its elements, with their kinds.
        parted: fields that differ from row to row: they stand in the list alone.
    """

    into: str
    kinds: Row
    parted: frozenset[str]


class Said(NamedTuple):
    """What a conversation has come to behind its opening question.

    Attributes:
        messages: as the one who speaks next sees them.
        number: turns that the one who speaks next has had, or is told of.
        calls_left: whether the one who speaks next may call a tool.
    """

    messages: tuple[Row, ...] = ()
    number: int = 0
    calls_left: bool = True


NOTHING_SAID = Said()


class Talk(NamedTuple):
    """A second speaker, and when the talk ends.

    Attributes:
        second: the second speaker, as a step whose question is what it is told beforehand.
        turns: replies of the step's teacher at most.
        stop: a text with which either ends the talk; "" for none.
    """

    second: Step
    turns: int
    stop: str

    def cut(self, text: str) -> tuple[str, bool]:
        """What somebody says, and whether the talk ends with it."""
        if not self.stop or self.stop not in text:
            return text, False
        return text.partition(self.stop)[0].strip(), True


@dataclass(frozen=True)
class Tooling:
    """The tools of a step.

    Attributes:
        tools: by name.
        most_calls: calls of one conversation at most; mistaken ones count.
        player: how a teacher plays a tool, as a step whose role is said where it is bound.
        world: what answers the tools that it has rules for; None where the pack has none.
        bound: name -> `module:function` or a role, as the user binds them.
    """

    tools: Mapping[str, Tool]
    most_calls: int
    player: Step
    world: World | None = None
    bound: Mapping[str, str] | None = None

    @cached_property
    def declared(self) -> tuple[Fields, ...]:
        """The tools as a request names them."""
        return tuple(tool.declared() for tool in self.tools.values())

    @cached_property
    def schemas(self) -> dict[str, Row]:
        """Name -> JSON Schema of a tool's arguments."""
        return {name: tool.parameters for name, tool in self.tools.items()}

    @cached_property
    def simulated(self) -> frozenset[str]:
        """Names of the tools that the pack's own world answers."""
        ours = self.world.tools if self.world else frozenset()
        return ours - (self.bound or {}).keys()

    @property
    def unbound(self) -> list[str]:
        """Names of the tools that nothing answers."""
        return sorted(
            self.tools.keys() - self.simulated - (self.bound or {}).keys()
        )

    @property
    def players(self) -> dict[str, Step]:
        """Name -> the teacher that plays the tool."""
        return {
            name: replace(self.player, role=target)
            for name, target in (self.bound or {}).items()
            if is_role(target)
        }

    def read(self, call: Call) -> tuple[Tool, Fields]:
        """The tool that a call names, and its arguments.

        Raises:
            Misuse: no such tool, or arguments that it does not take.
        """
        tool = self.tools.get(call.name)
        if tool is None:
            shown = printable(call.name[:64])
            known = ", ".join(self.tools)
            raise Misuse(
                "unknown_tool",
                f"there is no tool {shown!r}; there is {known}",
            )
        arguments = arguments_of(call.arguments)
        if problem := JsonSchema().why(arguments, tool.parameters)[1]:
            raise Misuse(
                "bad_arguments",
                f"the arguments do not fit: {printable(problem)}",
            )
        return tool, arguments

    def with_bound(self, named: Mapping[str, str]) -> Tooling:
        """The tools with what the user binds to their names."""
        bound = {
            name: target for name, target in named.items() if name in self.tools
        }
        return replace(self, bound=bound)


@dataclass(frozen=True)
class Step:
    """One question of a pack: its templates, sampling, parsers and filters.

    Attributes:
        each: (list field, item name) where the step walks a list; earlier answers are in `history`.
        spread: (list field, item name) where each element of a list becomes a sample of its own.
        rescues: the step whose lost samples this one asks about again; they see what was lost as
            `attempt`.
        gathers: a list into which the rows of one seed are joined before the step.
        sets: (field, template) of fields that are written before the question is asked.
        thens: the same of fields that are written once the reply is read.
        until: of a step that walks a list: where it renders to something, the walk ends before that
            element.
        retrieves: places of the blocks whose rows are looked up before this step.
        demonstrations: turns that go before the question.
        chosen: demonstrations that are chosen for each row.
        before: turns of the user and the assistant that go before the question.
        talk: a second speaker, with whom the step's teacher talks.
        repairs: times that a reply which cannot be read is shown to the teacher and asked again.
        keeps: the field that holds what the teacher thought.
        tooling: functions that the step's teacher may call.
        images: fields whose values name images, which the question shows.
        gallery: where images come from; None where nothing is asked.
        parsers: (field that must be present or "", parser); the first that applies reads the reply.
    """

    name: str
    role: str
    user: Template
    system: Template | None
    sampling: Sampling
    draws: int
    each: tuple[str, str] | None
    parsers: tuple[tuple[str, Parser], ...]
    filters: tuple[Any, ...]
    response_format: Row | None = None
    rescues: str | None = None
    spread: tuple[str, str] | None = None
    gathers: Gathered | None = None
    sets: tuple[tuple[str, Template], ...] = ()
    thens: tuple[tuple[str, Template], ...] = ()
    retrieves: tuple[str, ...] = ()
    until: Template | None = None
    demonstrations: tuple[Demonstration, ...] = ()
    chosen: Chosen | None = None
    before: tuple[tuple[str, Template], ...] = ()
    talk: Talk | None = None
    repairs: int = 0
    keeps: str | None = None
    tooling: Tooling | None = None
    images: tuple[str, ...] = ()
    gallery: Gallery | None = None

    def request(
        self,
        values: Row,
        *,
        model: str,
        family: str,
        draw: int = 0,
        seed_id: str = "",
        said: Said = NOTHING_SAID,
        pictures: Sequence[Picture] | None = None,
    ) -> Request:
        """The rendered question; draw k of a seeded step asks with seed + k. Pictures that are not
        given are read.
        """
        values = self.fill(values)
        messages: list[Row] = []
        if self.system:
            text = self.system.render(values)
            messages.append({"role": "system", "content": text})
        if self.demonstrations:
            messages += self.turns(values.get("fence", ""))
        messages += self._opened(values)
        if pictures is None:
            pictures = self.pictures(values)
        images: dict[str, str] = {}
        if pictures:
            images = {picture.digest: picture.url for picture in pictures}
            question = {"type": "text", "text": messages[-1]["content"]}
            shown = [image_part(picture.digest) for picture in pictures]
            messages[-1] = {"role": "user", "content": [question, *shown]}
        messages += said.messages
        sampling = self.sampling
        if draw and sampling.seed is not None:
            sampling = replace(sampling, seed=sampling.seed + draw)
        tools: tuple[Fields, ...] = ()
        if self.tooling:
            tools = self.tooling.declared
            if not said.calls_left:
                extra = {**sampling.extra, "tool_choice": "none"}
                sampling = replace(sampling, extra=extra)
        inputs = values
        if said.number:
            inputs = {**values, "index": said.number}
        return Request(
            model=model,
            messages=tuple(messages),
            family=family,
            sampling=sampling,
            tools=tools,
            response_format=self.response_format,
            draw=draw,
            seed_id=seed_id,
            step=self.name,
            inputs=inputs,
            checked=self.holds_schema,
            images=images,
        )

    def pictures(self, values: Row) -> list[Picture]:
        """The images that a question shows; where nothing is asked, their names alone.

        Raises:
            RowFault: a value that names none.
        """
        named = [(values.get(name), name) for name in self.images]
        pictures: list[Picture] = []
        for value, name in named:
            if self.gallery is None:
                pictures += unread(value)
            else:
                pictures += self.gallery.pictures(value, name)
        return pictures

    def seen(self, pictures: Sequence[Picture]) -> Fields:
        """The field that says which images a question shows; {} where the step shows none."""
        if not self.images:
            return {}
        listed = [{"source": p.source, "sha256": p.digest} for p in pictures]
        return {f"{self.name}_pictures": listed}

    def opening(self, values: Row) -> list[dict[str, str]]:
        """The turns before the question, and the question."""
        return self._opened(self.fill(values))

    def _opened(self, values: Row) -> list[dict[str, str]]:
        """The same, of values that have their fence."""
        question = {"role": "user", "content": self.user.render(values)}
        if not self.before:
            return [question]
        before = [
            {"role": role, "content": template.render(values)}
            for role, template in self.before
        ]
        return [*before, question]

    def showing(self, shown: Sequence[Demonstration]) -> Step:
        """The step with these turns before its question."""
        return replace(self, demonstrations=tuple(shown))

    def turns(self, fence: str) -> list[dict[str, str]]:
        """The demonstrations as messages, behind the fence of a request."""
        turns = []
        for question, reply in self._rendered_turns:
            content = question.replace(_FENCE, fence)
            turns.append({"role": "user", "content": content})
            turns.append({"role": "assistant", "content": reply})
        return turns

    @cached_property
    def _rendered_turns(self) -> list[tuple[str, str]]:
        rendered = []
        for values, reply in self.demonstrations:
            fenced = {**values, "fence": _FENCE} if self.fenced else values
            rendered.append((self.user.render(fenced), reply))
        return rendered

    @cached_property
    def row_filters(self) -> tuple[Any, ...]:
        """The filters of one row; those of the corpus see all rows, at the end of the run."""
        return tuple(part for part in self.filters if part.group != "corpus")

    @cached_property
    def regroups(self) -> bool:
        """Whether the step asks about other samples than those that the step before it left."""
        return bool(
            self.rescues or self.gathers or self.retrieves or self.spread
        )

    @cached_property
    def speaks_once(self) -> bool:
        """Whether the step's question has one reply, behind which nothing comes."""
        return not (self.talk or self.tooling or self.images or self.repairs)

    @cached_property
    def holds_schema(self) -> bool:
        """Whether the step's parser holds replies to all that its response format asks for."""
        (_, parser), *others = self.parsers
        if others or not isinstance(parser, JsonObject):
            return False
        return self.response_format == parser.response_format(self.name)

    def parser_for(self, row: Row) -> Parser:
        """The first parser whose `when` field the row has."""
        return next(
            (p for when, p in self.parsers if not when or row.get(when)),
            self.parsers[-1][1],
        )

    def produces(self) -> Fields:
        """Fields that this step adds to the sample, with their kinds; a step that walks a list adds
        a list of readings.
        """
        kinds = {
            name: kind
            for _, parser in reversed(self.parsers)
            for name, kind in parser.produces().items()
        }
        if self.keeps:
            kinds[self.keeps] = "text"
        written = (*self.sets, *self.thens)
        made: Fields = dict.fromkeys((name for name, _ in written), "text")
        if self.images:
            pictures = {"source": "text", "sha256": "text"}
            made[f"{self.name}_pictures"] = pictures
        if self.gathers:
            made[self.gathers.into] = dict(self.gathers.kinds)
        if self.spread:
            made[self.spread[1]] = "any"
        if self.each:
            return {**made, self.name: {self.each[1]: "text", **kinds}}
        if self.talk or self.tooling:
            made[self.name] = {"role": "text", "content": "text"}
        if self.tooling:
            made[self.name] |= {"tool_calls": "any", "tool_call_id": "text"}
            if self.tooling.world:
                made[self.tooling.world.into] = "any"
        return {**made, **kinds}

    def with_sets(self, values: Row) -> dict[str, str]:
        """The fields that the step writes before it asks."""
        return _written(self.sets, values)

    def with_thens(self, values: Row) -> dict[str, str]:
        """The fields that the step writes once its reply is read."""
        return _written(self.thens, values)

    def fill(self, values: Row) -> Row:
        """The values, with a fence where the templates use one."""
        if not self.fenced:
            return values
        return {
            **values,
            "fence": seed_id(
                {name: str(value) for name, value in values.items()}
            ),
        }

    @cached_property
    def fenced(self) -> bool:
        """Whether the templates fence foreign text with `fence`: a hash over all values, which no
        text inside can contain.
        """
        return "fence" in self.variables()

    def first_of(self, whole: Row) -> Fields:
        """What the first question sees of a seed's values: the first element of a list that is
        walked or spread, and what the step sets.
        """
        elements = {
            name: (whole.get(field) or ["word"])[0]
            for field, name in filter(None, (self.each, self.spread))
        }
        values = {
            **whole,
            **({"history": [], "index": 0} if self.each else {}),
            **elements,
        }
        return {**values, **self.with_sets(values)}

    def ends(self, values: Row) -> bool:
        """Whether the walk of a list ends before this element."""
        return (
            self.until is not None
            and self.until.render(values).strip() not in NOTHING
        )

    @cached_property
    def looks_back(self) -> bool:
        """Whether the questions about a list read the answers before them."""
        return "history" in self.variables() or self.until is not None

    def variables(self) -> frozenset[str]:
        """Names that the templates read."""
        names = self.user.variables
        for _, template in self.before:
            names |= template.variables
        if self.system:
            names |= self.system.variables
        return names


def _written(
    templates: Sequence[tuple[str, Template]], values: Row
) -> dict[str, str]:
    """Fields that templates write; each sees those before it."""
    made: dict[str, str] = {}
    for name, template in templates:
        made[name] = template.render({**values, **made})
    return made
