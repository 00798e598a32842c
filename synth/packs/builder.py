"""A validated pack.yaml into compiled steps and exports; every variable must be declared where it
is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth.core import registry
from synth.core.errors import (
    RowFault,
    WrongUse,
    did_you_mean,
)
from synth.core.records import Fields, Values
from synth.core.strict_yaml import line_of
from synth.packs.choice_schema import (
    ChoiceSpec,
    ChosenDemonstrationsSpec,
    DemonstrationSpec,
    PoolSpec,
)
from synth.packs.demonstrations import (
    MOST_SHOWN,
    check_shown,
    demonstration,
    not_rendered,
)
from synth.packs.field_names import check_list, check_name, check_text
from synth.packs.files import read_text_inside
from synth.packs.reply_schema import asking_in_form, reader
from synth.packs.schema import PackSpec, StepSpec
from synth.packs.step import Chosen, Demonstration, Gathered, Step, Talk
from synth.packs.templates import Template, Templates
from synth.packs.tool_builder import with_tools
from synth.parsers.base import Parser
from synth.parsers.whole import Whole


class Builder:
    """Turns a validated spec into compiled steps, checking that every variable is declared where it
    is used.
    """

    def __init__(
        self,
        folder: Path,
        spec: PackSpec,
        lines: dict[tuple[Any, ...], int],
        allowed: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        # A run's folder says what `--set` wrote, and may come from a stranger: an import string
        # needs leave wherever it stands.
        self.allowed = allowed
        self.spec = spec
        self.lines = lines
        self.templates = Templates(folder)
        retrieved = [block.into for block in spec.retrieves.values()]
        self.kinds: Fields = dict.fromkeys(
            (*spec.inputs, "examples", "fence", *retrieved, *spec.constants),
            "text",
        )
        self.used: set[str] = set()
        # Fields of the steps so far, and those of them that differ among the rows of one seed.
        self.made: Fields = {}
        self.parted: set[str] = set()
        self.parts = False

    def where(self, *at: Any) -> str:
        """pack.yaml:LINE of a path in it."""
        return f"{self.folder / 'pack.yaml'}:{line_of(self.lines, at)}"

    def step(self, index: int, spec: StepSpec) -> Step:
        """One compiled step; afterwards its fields are known to later ones."""
        gathers = self.gathered(index, spec)
        extra = {spec.each[1], "history", "index"} if spec.each else set()
        if spec.spread:
            self.require_list(
                spec.spread[0], self.where("steps", index, "spread")
            )
            extra.add(spec.spread[1])
        if spec.rescues:
            self.rescued(index, spec.rescues)
            extra.add("attempt")
        sets = self.written(("steps", index, "set"), spec.set, extra)
        if spec.each:
            self.require_list(spec.each[0], self.where("steps", index, "each"))
        retrieves = self.retrieves(index, spec.name)
        user = self.file(f"{spec.name}.user.j2", extra, needed=True)
        assert user is not None  # noqa: S101 - needed=True raises
        step = Step(
            name=spec.name,
            role=spec.teacher,
            user=user,
            system=self.file(f"{spec.name}.system.j2", extra),
            sampling=spec.drawing,
            keeps=spec.reasoning.keep if spec.reasoning else None,
            draws=spec.draws,
            repairs=spec.repairs,
            each=spec.each,
            parsers=self.parsers(index, spec),
            filters=self.filters(index, spec),
            response_format=spec.response_format,
            rescues=spec.rescues,
            spread=spec.spread,
            gathers=gathers,
            sets=sets,
            retrieves=retrieves,
            images=self.images(index, spec),
        )
        if spec.reply_schema is not None:
            step = asking_in_form(step)
        if spec.until:
            where = self.where("steps", index, "until")
            step = replace(step, until=self.inline(spec.until, where, extra))
        step = with_tools(self, step, spec, index, extra)
        step = self.with_turns(step, spec, index, extra)
        step = self.with_demonstrations(step, spec, index, extra)
        self.produce(step, self.fields(index, step))
        step = self.with_thens(step, spec, index)
        for part in step.filters:
            self.used.update(part.needs())
        return step

    def with_thens(self, step: Step, spec: StepSpec, index: int) -> Step:
        """The step with the fields that it writes behind its reply, which their templates see."""
        if not spec.then:
            return step
        thens = self.written(("steps", index, "then"), spec.then, set())
        step = replace(step, thens=thens)
        self.produce(step, self.fields(index, step))
        return step

    def images(self, index: int, spec: StepSpec) -> tuple[str, ...]:
        """The inputs that name images; a model's words never do."""
        where = self.where("steps", index, "images")
        for name in spec.images:
            if name not in self.spec.inputs:
                raise WrongUse(
                    where,
                    f"{name!r}",
                    "an input of the pack",
                    did_you_mean(name, self.spec.inputs),
                )
        if spec.images and (spec.each or spec.talk):
            raise WrongUse(
                where,
                "images beside each or talk",
                "a step that asks one question",
                "Show the images in a step of its own.",
            )
        self.used.update(spec.images)
        return tuple(spec.images)

    def written(
        self,
        at: tuple[str | int, ...],
        texts: Mapping[str, str],
        extra: set[str],
    ) -> tuple[tuple[str, Template], ...]:
        """The fields that templates write before a step asks or behind it; each template sees
        those before it.
        """
        templates = []
        for name, text in texts.items():
            where = self.where(*at, name)
            template = self.inline(text, where, extra)
            templates.append((name, template))
            check_text(name, self.made, where)
            self.kinds[name] = "text"
        return tuple(templates)

    def filters(self, index: int, spec: StepSpec) -> tuple[Any, ...]:
        """The filters of a step."""
        built = []
        for place, one in enumerate(spec.filters):
            where = self.where("steps", index, "filters", place)
            part = registry.build("synth.filters", one, where, self.allowed)
            built.append(part)
        return tuple(built)

    def gathered(self, index: int, spec: StepSpec) -> Gathered | None:
        """How the rows of a seed are joined before a step: later templates see the list, and no
        field that differed from row to row.
        """
        if spec.gather is None:
            return None
        if index == 0 or spec.rescues or spec.gather in self.kinds:
            got = "before the first step"
            if spec.rescues:
                got = "of a step that rescues"
            elif index:
                got = "whose name is taken"
            raise WrongUse(
                self.where("steps", index, "gather"),
                f"gather: {spec.gather}, {got}",
                "a new name, behind a step by which rows part",
                "Take it out, or correct it.",
            )
        gathered = Gathered(spec.gather, self.made, frozenset(self.parted))
        for name in self.parted:
            del self.kinds[name]
        kept = {
            name: kind
            for name, kind in self.made.items()
            if name not in self.parted
        }
        self.made = {**kept, spec.gather: dict(gathered.kinds)}
        self.parted = set()
        self.parts = False
        self.kinds[spec.gather] = dict(gathered.kinds)
        return gathered

    def produce(self, step: Step, kinds: Fields) -> None:
        """Notes the fields of a step."""
        self.kinds.update(kinds)
        self.made.update(kinds)
        self.parts = self.parts or step.draws > 1 or step.spread is not None
        if self.parts:
            self.parted.update(kinds)

    def alone(self, step: Step, where: str, what: str) -> None:
        """Raises WrongUse where a step whose turns have its name walks a list, or writes a field of
        that name.
        """
        fields = {
            name for _, parser in step.parsers for name in parser.produces()
        }
        if step.each or step.name in fields:
            raise WrongUse(
                where,
                f"{what} with `each`"
                if step.each
                else f"a parser that writes {step.name}",
                f"{what} by itself, whose turns have the step's name",
                "Use `spread`, or give the step another name.",
            )

    def with_turns(
        self, step: Step, spec: StepSpec, index: int, extra: set[str]
    ) -> Step:
        """The step with the turns before its question, and with its second speaker."""
        before = []
        for place, turn in enumerate(spec.turns):
            where = self.where("steps", index, "turns", place)
            role, text = turn.said
            if role != ("user", "assistant")[place % 2]:
                raise WrongUse(
                    where,
                    f"a turn of the {role}",
                    "the user and the assistant in turns, the user first",
                    "Correct the order, or join the two turns.",
                )
            before.append((role, self.inline(text, where, extra)))
        if len(before) % 2:
            raise WrongUse(
                self.where("steps", index, "turns"),
                "a turn of the user as the last one",
                "one of the assistant, since the step's question follows",
                f"Leave it out: {spec.name}.user.j2 is what the user says then.",
            )
        step = replace(step, before=tuple(before))
        return self.talking(step, spec, index, extra)

    def talking(
        self, step: Step, spec: StepSpec, index: int, extra: set[str]
    ) -> Step:
        """The step with its second speaker."""
        talk = spec.talk
        if talk is None:
            return step
        where = self.where("steps", index, "talk")
        self.alone(step, where, "a talk")
        name = f"{spec.name}.second"
        user = self.file(f"{name}.user.j2", extra, needed=True)
        assert user is not None  # noqa: S101 - needed=True raises
        second = Step(
            name=name,
            role=talk.teacher,
            user=user,
            system=self.file(f"{name}.system.j2", extra),
            sampling=talk.sampling.record(),
            draws=spec.draws,
            each=None,
            parsers=(("", Whole(into="content")),),
            filters=(),
        )
        return replace(step, talk=Talk(second, talk.turns, talk.stop))

    def with_demonstrations(
        self, step: Step, spec: StepSpec, index: int, extra: set[str]
    ) -> Step:
        """The step with its demonstrations, each checked."""
        at: tuple[Any, ...] = ("steps", index, "demonstrations")
        listed = spec.demonstrations
        if isinstance(listed, ChosenDemonstrationsSpec):
            at_step = self.where(*at)
            self.chooses(listed, extra, at_step)
            step = self.chosen(step, listed, at_step)
            listed = listed.rows
            at = (*at, "rows")
        made = []
        for place, shown in enumerate(listed):
            where = self.where(*at, place)
            for name in shown.given:
                self.require(name, extra, where)
            made.append(self.demonstrated(step, shown, where))
        # Those that are chosen are shown row by row.
        return step if step.chosen else step.showing(made)

    def retrieves(self, index: int, name: str) -> tuple[str, ...]:
        """The blocks whose rows are looked up before a step; what they read of a row is checked."""
        here = []
        for block, spec in self.spec.retrieves.items():
            if spec.before == name or (spec.before is None and index == 0):
                self.chooses(spec, set(), self.where(*block.split(".")))
                here.append(block)
                self.kinds[spec.into] = "text"
        return tuple(here)

    def chooses(self, spec: ChoiceSpec, extra: set[str], where: str) -> None:
        """Raises WrongUse where a choice reads what no row has by then."""
        for name in (spec.query, spec.of, *spec.same):
            if name is not None:
                self.require(name, extra, where)
        if spec.pool is not None and spec.pool not in self.spec.pools:
            raise WrongUse(
                where,
                f"pool: {spec.pool}",
                "a pool of the pack",
                did_you_mean(spec.pool, self.spec.pools),
            )

    def pools(self) -> dict[str, dict[str, Template]]:
        """The templates of what enters each pool, which see all fields of a kept row."""
        made: dict[str, dict[str, Template]] = {}
        for name, spec in self.spec.pools.items():
            first = self.spec.constants.get(spec.of or "")
            if spec.of and not _is_first(first, spec):
                raise WrongUse(
                    self.where("pools", name, "of"),
                    f"of: {spec.of}",
                    f"a constant: a list of texts, or of {', '.join(spec.add)}",
                    did_you_mean(spec.of, self.spec.constants),
                )
            made[name] = {
                column: self.inline(
                    text, self.where("pools", name, "add", column), set()
                )
                for column, text in spec.add.items()
            }
        return made

    def chosen(
        self, step: Step, spec: ChosenDemonstrationsSpec, where: str
    ) -> Step:
        """The step with the rules by which its demonstrations are chosen."""
        if len(spec.rows) > MOST_SHOWN:
            raise WrongUse(
                where,
                f"{len(spec.rows):,} demonstrations",
                f"at most {MOST_SHOWN:,}",
                "Put them into a file that the user names.",
            )
        reply = self.templates.compile(spec.reply, where)
        return replace(step, chosen=Chosen(spec, reply))

    def demonstrated(
        self,
        step: Step,
        shown: DemonstrationSpec,
        where: str,
    ) -> Demonstration:
        """One demonstration of the pack's own.

        Raises:
            WrongUse: its templates read what is not given, or its parser does not read the reply.
        """
        try:
            made = demonstration(
                step, shown.given, self.spec.around, shown.reply
            )
        except RowFault as error:
            raise not_rendered(where, error) from error
        check_shown(step, made, where)
        return made

    def fields(self, index: int, step: Step) -> Fields:
        """What a step adds to a row, once its names are free and can be seen for what they are."""
        kinds = step.produces()
        for name in (*kinds, *(step.each[1:] if step.each else ())):
            check_name(name, self.spec, self.where("steps", index, "parser"))
        return kinds

    def retrieved(self) -> None:
        """Raises WrongUse where rows are to be looked up before a step that the pack does not
        have, or two lists have one name.
        """
        names = [step.name for step in self.spec.steps]
        seen: dict[str, str] = {}
        for block, spec in self.spec.retrieves.items():
            if spec.before is not None and spec.before not in names:
                raise WrongUse(
                    self.where(*block.split("."), "before"),
                    f"before: {spec.before}",
                    "a step",
                    did_you_mean(spec.before, names),
                )
            if spec.into in seen:
                raise WrongUse(
                    self.where(*block.split(".")),
                    f"into: {spec.into}, as in {seen[spec.into]}",
                    "a name of its own",
                    "Give it another `into`.",
                )
            seen[spec.into] = block

    def rescued(self, index: int, name: str) -> None:
        """Raises WrongUse where a step rescues none that stands before it, or one that another
        rescues already.
        """
        earlier = [step.name for step in self.spec.steps[:index]]
        taken = [step.rescues for step in self.spec.steps[:index]]
        if name not in earlier or name in taken:
            got = f"rescues: {name}" + (
                ", which another step rescues" if name in taken else ""
            )
            raise WrongUse(
                self.where("steps", index, "rescues"),
                got,
                "an earlier step, each once",
                did_you_mean(name, earlier),
            )

    def parsers(
        self, index: int, spec: StepSpec
    ) -> tuple[tuple[str, Parser], ...]:
        """The parsers of a step: those that it names, or the one that its schema is."""
        if spec.reply_schema is None:
            return tuple(self.parser(index, one) for one in spec.parser)
        where = self.where("steps", index, "schema")
        return (
            ("", reader(spec.reply_schema, self.folder, where, self.allowed)),
        )

    def parser(self, index: int, spec: Values) -> tuple[str, Parser]:
        """(when, parser) of one parser entry."""
        where = self.where("steps", index, "parser")
        spec = dict(spec)
        when = str(spec.pop("when", ""))
        parser: Parser = registry.build(
            "synth.parsers",
            spec,
            where,
            self.allowed,
        )
        self.used.update(parser.needs(), {when})
        if when:
            self.require(when, set(), where)
        return when, parser

    def file(
        self, name: str, extra: set[str], *, needed: bool = False
    ) -> Template | None:
        """A template of the folder, its variables checked; None where it is optional and absent."""
        path = self.folder / name
        if not needed and not os.path.lexists(path):
            return None
        text = read_text_inside(self.folder, name)
        found = self.check(self.templates.compile(text, str(path)), extra)
        if needed and not found.variables and not found.render({}).strip():
            raise WrongUse(
                found.where,
                "a template that says nothing",
                "what the step asks",
                "Write the question into it.",
            )
        return found

    def inline(self, text: str, where: str, extra: set[str]) -> Template:
        """A template of pack.yaml, its variables checked."""
        return self.check(self.templates.compile(text, where), extra)

    def check(self, template: Template, extra: set[str]) -> Template:
        """The template, once every variable in it is declared."""
        for variable in sorted(template.variables):
            line = template.line_of(variable)
            where = f"{template.where}:{line}"
            # A template of pack.yaml stands at a line of its own.
            if template.where.rpartition(":")[2].isdigit():
                where = template.where
                if line > 1:
                    where = f"{where}, line {line} of the template"
            self.require(variable, extra, where)
        return template

    def require(self, variable: str, extra: set[str], where: str) -> None:
        """Raises WrongUse where no input or earlier step declares a name."""
        self.used.add(variable)
        if variable not in self.kinds and variable not in extra:
            wanted = "a declared input, or a field of an earlier step"
            raise WrongUse(
                where,
                f"variable {variable!r}",
                wanted,
                did_you_mean(variable, {*self.kinds, *extra}),
            )

    def require_list(self, name: str, where: str) -> None:
        """Raises WrongUse where no input or earlier step declares a list of that name."""
        self.require(name, set(), where)
        check_list(name, self.spec, self.made, where)

    def exports(
        self, *, whole: bool
    ) -> dict[str, dict[str, dict[str, Template]]]:
        """Compiled export templates; afterwards every declared input of an unchanged (`whole`) pack
        must have been used.
        """
        out: dict[str, dict[str, dict[str, Template]]] = {}
        for name, task, each, sides in self.spec.exports.tasks():
            # A prompt that a student reads ends as its author wrote it; in a message the chat
            # template ends it.
            kept = () if name == "messages" else ("prompt",)
            out.setdefault(name, {})[task] = self.sides(
                sides,
                each,
                self.where("exports", name),
                kept,
            )
        messages = self.spec.exports.messages
        if messages and messages.each:
            head = messages.each.partition(".")[0]
            where = self.where("exports", "messages", "each")
            self.require_list(head, where)
        for name in self.spec.inputs:
            if whole and name not in self.used:
                todo = "Use it in a template or a filter, or take it out."
                raise WrongUse(
                    self.where("inputs", name),
                    f"input {name!r}, unused",
                    "inputs that something reads",
                    todo,
                )
        return out

    def sides(
        self,
        texts: Mapping[str, str],
        each: str | None,
        where: str,
        keep_tail: Sequence[str],
    ) -> dict[str, Template]:
        """The templates of one training row, or of one element of a list.

        Args:
            texts: by side.
            each: the list whose elements they see.
            where: their place in the pack.
            keep_tail: sides whose last blanks and line ends stay.
        """
        extra: set[str] = set()
        if each:
            head, _, inner = each.partition(".")
            self.require_list(head, where)
            element = self.kinds[head]
            element = (
                element.get(inner)
                if inner and isinstance(element, Mapping)
                else element
            )
            extra = {
                "index",
                "item",
                *(element if isinstance(element, Mapping) else ()),
            }
        return {
            side: self.check(
                self.templates.compile(
                    text, where, keep_tail=side in keep_tail
                ),
                extra,
            )
            for side, text in texts.items()
        }


def _is_first(value: Any, spec: PoolSpec) -> bool:
    """Whether a pool may start with a value: a list of texts, or of rows that have its columns."""
    return isinstance(value, list) and all(
        (isinstance(one, str) and len(spec.add) == 1)
        or (isinstance(one, dict) and spec.add.keys() <= one.keys())
        for one in value
    )
