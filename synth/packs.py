"""A prompt pack: a folder with pack.yaml, templates and cases, checked whole before any call.

`Pack.load` turns it into steps that render Requests. Data only: no code is read from a pack.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from synth import pack_files, registry, rights
from synth.errors import WrongUse, did_you_mean, printable
from synth.pack_files import read_text_inside
from synth.pack_schema import PackSpec, StepSpec, apply_overrides
from synth.parsers.base import Parser
from synth.records import Row
from synth.step import Step
from synth.strict_yaml import line_of, parse_yaml
from synth.templates import Template, Templates

# What a row has of its own: a step that wrote one of these would say who or what the row is.
RESERVED = ("id", "meta", "reply", "reason", "detail")
MOST_NAME = 128
RENDERED = ("reply", "prompt", "completion", "meta", "id", "reason", "detail")


def built_in() -> Path:
    """The folder of the packs that ship with the product (inside the wheel, or beside the source)."""
    inside = Path(__file__).parent / "prompts"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "prompts"


def pack_names() -> list[str]:
    """Names of the built-in packs, sorted."""
    return sorted(p.parent.name for p in built_in().glob("*/pack.yaml"))


@dataclass(frozen=True)
class Pack:
    """A checked pack. `hash` names its content (files and overrides); `file_named`: the user named `retrieve.file`."""

    spec: PackSpec
    folder: Path
    steps: tuple[Step, ...]
    exports: Mapping[str, Mapping[str, Mapping[str, Template]]]
    hash: str
    file_named: bool = False

    @property
    def shelf_folder(self) -> Path | None:
        """The folder that `retrieve.file` stands in; None where the user named the file."""
        return None if self.file_named else self.folder

    @property
    def name(self) -> str:
        """The pack's name."""
        return self.spec.name

    @property
    def roles(self) -> set[str]:
        """Teachers that a run must hold open: those of the steps and of the filters that ask."""
        return {step.role for step in self.steps} | {role for part in self.filters() for role in part.roles()}

    def filters(self) -> list[Any]:
        """The filters of all steps."""
        return [part for step in self.steps for part in step.filters]

    @classmethod
    def load(cls, name: str | Path, overrides: Mapping[str, Any] | None = None) -> Pack:
        """A built-in pack by name, or a folder.

        Args:
            name: a built-in name or a path.
            overrides: `step.key` -> value, as `--set` gives them.

        Raises:
            WrongUse: with file, line, what was found, what was wanted, what to do.
        """
        folder = _folder(name)
        path = folder / "pack.yaml"
        raw, lines = parse_yaml(read_text_inside(folder, "pack.yaml"), path)
        rights.check(raw, lambda *at: f"{path}:{line_of(lines, at)}", pack_names())
        apply_overrides(raw, overrides or {}, str(name))
        try:
            spec = PackSpec.model_validate(raw)
        except pydantic.ValidationError as error:
            raise _spell(error, path, lines) from error
        builder = _Builder(folder, spec, lines)
        steps = tuple(builder.step(i, s) for i, s in enumerate(spec.steps))
        hashed = pack_files.digest(folder, repr(sorted((overrides or {}).items())).encode())
        named = "retrieve.file" in (overrides or {})
        builder.retrieved(steps)
        return cls(spec, folder, steps, builder.exports(whole=not overrides), hashed, named)

    def cases(self) -> list[dict[str, Any]]:
        """The cases of cases.yaml, each with `about`, `inputs` and `replies`; none where the pack has no such file.

        Raises:
            WrongUse: no regular file inside the pack, or cases of another shape.
        """
        path = self.folder / "cases.yaml"
        if not os.path.lexists(path):
            return []
        found = parse_yaml(read_text_inside(self.folder, "cases.yaml"), path)[0].get("cases")
        listed = found if isinstance(found, list) else []
        for case in listed:
            replies = case.get("replies", []) if isinstance(case, dict) else None
            sound = isinstance(replies, list) and all(isinstance(said, dict) and "text" in said for said in replies)
            if not sound or not isinstance(case.get("inputs"), dict):
                wanted = "cases with `about`, `inputs` and `replies`, each reply with `text`"
                raise WrongUse(str(path), repr(case)[:200], wanted, "See `cases.yaml` of the pack cot.")
        return [{"about": "", "replies": [], **case} for case in listed]

    def values(self, row: Row) -> dict[str, Any]:
        """What templates see of a seed: every declared input (None where optional and absent), constants, examples."""
        absent: dict[str, Any] = {name: None for name, spec in self.spec.inputs.items() if spec.optional}
        if self.spec.retrieve:
            absent[self.spec.retrieve.into] = []
        return {**absent, **row, "examples": self.spec.examples, **self.spec.constants}

    def aliases(self, columns: Mapping[str, Any]) -> dict[str, str]:
        """Input columns that stand for a declared input which the rows do not have under its own name."""
        out: dict[str, str] = {}
        for name, spec in self.spec.inputs.items():
            alias = next((a for a in spec.aliases if a in columns), None)
            if name not in columns and alias:
                out[alias] = name
        return out

    def rename(self, columns: Mapping[str, Any]) -> dict[str, str]:
        """What the rows' columns are called on the line: inputs by their aliases, and `seed_NAME` where a step writes NAME."""
        aliases = self.aliases(columns)
        free = (
            set() if "sft" in self.exports else {"prompt", "completion"} & self.spec.inputs.keys()
        )  # nothing is rendered under these names
        taken = {*RENDERED, *(name for step in self.steps for name in step.produces())} - {"id"} - free
        return {**{name: f"seed_{name}" for name in columns if name in taken}, **aliases}

    def check_row(self, row: Row, place: str) -> None:
        """Raises WrongUse where a seed lacks a declared input or has it with another kind."""
        for name, spec in self.spec.inputs.items():
            value = next((row[n] for n in (name, *spec.aliases) if row.get(n) is not None), None)
            if value is None or (value == "" and not spec.optional):
                if not spec.optional:
                    got = f"fields {', '.join(row) or '(none)'}" if name not in row else f"an empty {name!r}"
                    raise WrongUse(place, got, f"field {name!r} ({spec.type})", did_you_mean(name, row))
            elif not spec.fits(value):
                raise WrongUse(place, f"{name} = {value!r}"[:200], spec.type, "Correct the row.")


class _Builder:
    """Turns a validated spec into compiled steps, checking that every variable is declared where it is used."""

    def __init__(self, folder: Path, spec: PackSpec, lines: dict[tuple[Any, ...], int]) -> None:
        self.folder, self.spec, self.lines = folder, spec, lines
        self.templates = Templates(folder)
        retrieved = (spec.retrieve.into,) if spec.retrieve else ()
        self.known: dict[str, Any] = dict.fromkeys((*spec.inputs, "examples", "fence", *retrieved, *spec.constants), "text")
        self.used: set[str] = set()

    def where(self, *at: Any) -> str:
        """pack.yaml:LINE of a path in it."""
        return f"{self.folder / 'pack.yaml'}:{line_of(self.lines, at)}"

    def step(self, index: int, spec: StepSpec) -> Step:
        """One compiled step; afterwards its fields are known to later ones."""
        extra = {spec.each[1], "history", "index"} if spec.each else set()
        if spec.spread:
            self.must_know(spec.spread[0], set(), self.where("steps", index, "spread"))
            extra.add(spec.spread[1])
        if spec.rescues:
            self.rescued(index, spec.rescues)
            extra.add("attempt")
        sets = []
        for name, text in spec.set.items():
            sets.append((name, self.check(self.templates.compile(text, self.where("steps", index, "set", name)), extra)))
            self.known[name] = "text"
        if spec.each:
            self.must_know(spec.each[0], set(), self.where("steps", index, "each"))
        found = self.spec.retrieve
        retrieves = found is not None and (found.before == spec.name if found.before else index == 0)
        if found and retrieves:
            self.must_know(found.query, set(), self.where("retrieve", "query"))
        user = self.file(f"{spec.name}.user.j2", extra, needed=True)
        assert user is not None  # noqa: S101 - needed=True raises
        step = Step(
            name=spec.name,
            role=spec.teacher,
            user=user,
            system=self.file(f"{spec.name}.system.j2", extra),
            sampling=spec.sampling.record(),
            draws=spec.draws,
            each=spec.each,
            parsers=tuple(self.parser(index, p) for p in spec.parser),
            filters=tuple(registry.build("synth.filters", f, self.where("steps", index, "filters")) for f in spec.filters),
            response_format=spec.response_format,
            rescues=spec.rescues,
            spread=spec.spread,
            sets=tuple(sets),
            retrieves=retrieves,
            until=self.check(self.templates.compile(spec.until, self.where("steps", index, "until")), extra) if spec.until else None,
        )
        self.known.update(self.fields(index, step))
        for part in step.filters:
            self.used.update(part.needs())
        return step

    def fields(self, index: int, step: Step) -> dict[str, Any]:
        """What a step adds to a row, once its names are free and can be seen for what they are."""
        found = step.produces()
        for name in found:
            visible = printable(name) == name and not {"\n", "\t"} & {*name} and 0 < len(name) <= MOST_NAME
            if name in RESERVED or not visible:
                todo = "Give the field another name."
                raise WrongUse(
                    self.where("steps", index, "parser"), f"field {name!r}"[:200], "a visible name that no row has by itself", todo
                )
        return found

    def retrieved(self, steps: tuple[Step, ...]) -> None:
        """Raises WrongUse where rows are to be looked up before a step that the pack does not have."""
        if self.spec.retrieve and not any(step.retrieves for step in steps):
            where = self.where("retrieve", "before")
            raise WrongUse(
                where,
                f"before: {self.spec.retrieve.before}",
                "a step",
                did_you_mean(str(self.spec.retrieve.before), (s.name for s in steps)),
            )

    def rescued(self, index: int, name: str) -> None:
        """Raises WrongUse where a step rescues none that stands before it, or one that another rescues already."""
        earlier = [step.name for step in self.spec.steps[:index]]
        taken = [step.rescues for step in self.spec.steps[:index]]
        if name not in earlier or name in taken:
            got = f"rescues: {name}" + (", which another step rescues" if name in taken else "")
            raise WrongUse(self.where("steps", index, "rescues"), got, "an earlier step, each once", did_you_mean(name, earlier))

    def parser(self, index: int, spec: Mapping[str, Any]) -> tuple[str, Parser]:
        """(when, parser) of one parser entry."""
        where = self.where("steps", index, "parser")
        spec = dict(spec)
        when = str(spec.pop("when", ""))
        parser: Parser = registry.build("synth.parsers", spec, where)
        self.used.update(parser.reads, {when})
        if when:
            self.must_know(when, set(), where)
        return when, parser

    def file(self, name: str, extra: set[str], *, needed: bool = False) -> Template | None:
        """A template of the folder, its variables checked; None where it is optional and absent."""
        path = self.folder / name
        if not needed and not os.path.lexists(path):
            return None
        return self.check(self.templates.compile(read_text_inside(self.folder, name), str(path)), extra)

    def check(self, template: Template, extra: set[str]) -> Template:
        """The template, once every variable in it is declared."""
        for variable in sorted(template.variables):
            self.must_know(variable, extra, f"{template.where}:{template.line_of(variable)}")
        return template

    def must_know(self, variable: str, extra: set[str], where: str) -> None:
        """Raises WrongUse where no input or earlier step declares a name."""
        self.used.add(variable)
        if variable not in self.known and variable not in extra:
            wanted = "a declared input, or a field of an earlier step"
            raise WrongUse(where, f"variable {variable!r}", wanted, did_you_mean(variable, {*self.known, *extra}))

    def exports(self, *, whole: bool) -> dict[str, dict[str, dict[str, Template]]]:
        """Compiled export templates; afterwards every declared input of an unchanged (`whole`) pack must have been used."""
        out: dict[str, dict[str, dict[str, Template]]] = {}
        for name, task, each, sides in self.spec.exports.tasks():
            out.setdefault(name, {})[task] = self.sides(sides, each, self.where("exports", name))
        for name in self.spec.inputs:
            if whole and name not in self.used:
                todo = "Use it in a template or a filter, or take it out."
                raise WrongUse(self.where("inputs", name), f"input {name!r}, unused", "inputs that something reads", todo)
        return out

    def sides(self, texts: Mapping[str, str], each: str | None, where: str) -> dict[str, Template]:
        """The templates of one training row, or of one element of a list."""
        extra: set[str] = set()
        if each:
            head, _, inner = each.partition(".")
            self.must_know(head, set(), where)
            found = self.known[head]
            found = found.get(inner) if inner and isinstance(found, Mapping) else found
            extra = {"index", "item", *(found if isinstance(found, Mapping) else ())}
        return {side: self.check(self.templates.compile(text, where), extra) for side, text in texts.items()}


def _folder(name: str | Path) -> Path:
    """A bare name is a built-in pack's, whatever folders lie around; a folder of that name is `./NAME`."""
    path = Path(name)
    bare = isinstance(name, str) and path.name == name
    if bare and name in pack_names():
        return built_in() / name
    if (path / "pack.yaml").is_file():
        return path
    if str(name) in pack_names():
        return built_in() / str(name)
    wanted = "a built-in name or a folder with pack.yaml"
    raise WrongUse(f"pack {str(name)!r}", "no such pack", wanted, did_you_mean(str(name), pack_names()))


def _spell(error: pydantic.ValidationError, path: Path, lines: dict[tuple[Any, ...], int]) -> WrongUse:
    """The first fault of a pack.yaml, with its line."""
    first = error.errors()[0]
    at = tuple(first["loc"])
    where = f"{path}:{line_of(lines, at)}"
    spot = ".".join(map(str, at))
    if first["type"] == "extra_forbidden":
        model = StepSpec if at[0] == "steps" and len(at) == 3 else PackSpec
        return WrongUse(where, f"key {spot}", "a key that packs have", did_you_mean(str(at[-1]), model.model_fields))
    return WrongUse(where, f"{spot} = {first.get('input')!r}"[:200], str(first["msg"]), "Correct that line.")
