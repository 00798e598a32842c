"""A prompt pack: a folder with pack.yaml, templates and cases, checked whole before any call.

`Pack.load` turns it into steps that render Requests. Data only: no code is read from a pack.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pydantic

from synth.answers.choices import has_labels
from synth.core.errors import RowFault, WrongUse, did_you_mean
from synth.core.plugins import announced, check_allowed, installed
from synth.core.records import Fields, Row
from synth.core.rows import first_given
from synth.core.strict_yaml import line_of, parse_yaml
from synth.inputs.columns import column_hint
from synth.inputs.images import Gallery
from synth.inputs.values import Base64
from synth.packs import files as pack_files
from synth.packs import rights
from synth.packs.builder import Builder
from synth.packs.case_schema import CasesSpec
from synth.packs.field_names import check_steps
from synth.packs.files import read_text_inside
from synth.packs.mcp import bindings
from synth.packs.overrides import apply_overrides, place_of
from synth.packs.schema import InputSpec, PackSpec
from synth.packs.spelling import first_fault, place_of_fault, spelt
from synth.packs.step import Step
from synth.packs.templates import Template
from synth.packs.tooling import (
    check_all_bound,
    check_bindings,
    check_known,
    check_takes,
)

RENDERED = ("reply", "prompt", "completion", "meta", "id", "reason", "detail")


def built_in() -> Path:
    """The folder of the packs that ship with the product (inside the wheel, or beside the
    source).
    """
    inside = Path(__file__).parent.parent / "prompts"
    if inside.is_dir():
        return inside
    return Path(__file__).parent.parent.parent / "prompts"


def pack_names() -> list[str]:
    """Names of the built-in packs, sorted."""
    return list(_packs_in(built_in()))


@cache
def _packs_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.parent.name for p in folder.glob("*/pack.yaml")))


@dataclass(frozen=True)
class Pack:
    """A checked pack. `hash` names its content (files and overrides); `user_files`: the files that
    the user named, as `--set` names them (`retrieve.file`).
    """

    spec: PackSpec
    folder: Path
    steps: tuple[Step, ...]
    exports: Mapping[str, Mapping[str, Mapping[str, Template]]]
    hash: str
    pools: Mapping[str, dict[str, Template]] = field(default_factory=dict)
    user_files: frozenset[str] = frozenset()

    def folder_of(self, block: str) -> Path | None:
        """The folder that a block's `file` stands in; None where the user named the file."""
        return None if f"{block}.file" in self.user_files else self.folder

    @property
    def name(self) -> str:
        """The pack's name."""
        return self.spec.name

    @property
    def roles(self) -> set[str]:
        """Teachers that a run must hold open: those of the steps and of the filters that ask."""
        played = {
            player.role
            for step in self.steps
            if step.tooling
            for player in step.tooling.players.values()
        }
        asking = {role for part in self.filters() for role in part.roles()}
        return {step.role for step in self.speakers} | played | asking

    def with_tools(
        self,
        named: Mapping[str, str],
        plugins: Sequence[str],
        servers: Sequence[str] = (),
    ) -> Pack:
        """The pack with what the user binds to its tools.

        Args:
            named: tool -> `module:function`, or the role that plays it.
            plugins: modules that the user allows.
            servers: commands of MCP servers, which answer the tools that they have and that
                nothing else answers.

        Raises:
            WrongUse: a tool that no step has, no function of an allowed module, or no server.
        """
        check_bindings(named, plugins)
        if servers:
            named = {**bindings(servers, self._unbound(named)), **named}
        known: set[str] = set()
        steps = []
        for step in self.steps:
            if step.tooling:
                known.update(step.tooling.tools)
                check_takes(step.tooling.tools, named)
                bound = step.tooling.with_bound(named)
                step = replace(step, tooling=bound)  # noqa: PLW2901 - the same step
            steps.append(step)
        check_known(named, known)
        return replace(self, steps=tuple(steps))

    def _unbound(self, named: Mapping[str, str]) -> set[str]:
        """Tools that neither the user's targets nor the pack's own world answer."""
        unbound: set[str] = set()
        for step in self.steps:
            if step.tooling:
                unbound.update(step.tooling.with_bound(named).unbound)
        return unbound

    def with_gallery(self, gallery: Gallery) -> Pack:
        """The pack with the images that the user allows.

        Raises:
            WrongUse: a step shows images, and none are allowed.
        """
        showing = [step.name for step in self.steps if step.images]
        if not showing:
            return self
        if not gallery:
            raise WrongUse(
                "--image-root",
                f"none, and images in the step {showing[0]} of pack {self.name}",
                "the folder that the rows' paths begin in",
                "Say --image-root FOLDER, or --image-urls where the rows name URLs.",
            )
        gallery.check()
        steps = [replace(step, gallery=gallery) for step in self.steps]
        return replace(self, steps=tuple(steps))

    @property
    def speakers(self) -> list[Step]:
        """The steps, each with the second speaker of its talk behind it."""
        listed = []
        for step in self.steps:
            listed += [step, step.talk.second] if step.talk else [step]
        return listed

    @property
    def said(self) -> list[Step]:
        """The steps whose replies a case may record: the speakers, and who plays a tool."""
        players = [step.tooling.player for step in self.steps if step.tooling]
        return [*self.speakers, *players]

    def check_bound(self) -> None:
        """Raises WrongUse where nothing answers a tool."""
        for step in self.steps:
            if step.tooling:
                where = f"pack {self.name}, step {step.name}"
                check_all_bound(step.tooling.unbound, where)

    def filters(self) -> list[Any]:
        """The filters of all steps."""
        return [part for step in self.steps for part in step.filters]

    @classmethod
    def load(
        cls,
        name: str | Path,
        overrides: Row | None = None,
        plugins: Sequence[str] = (),
    ) -> Pack:
        """A built-in or installed pack by name, or a folder.

        Args:
            name: a built-in name, one that an installed package announces, or a path.
            overrides: `step.key` -> value, as `--set` gives them.
            plugins: modules of the user's whose parts it may name as `module:Class`.

        Raises:
            WrongUse: with file, line, what was found, what was wanted, what to do.
        """
        allowed = check_allowed(plugins)
        folder = _folder(name)
        path = folder / "pack.yaml"
        raw, lines = parse_yaml(read_text_inside(folder, "pack.yaml"), path)
        rights.check(
            raw,
            lambda *at: f"{path}:{line_of(lines, at)}",
            pack_names(),
            allowed,
        )
        apply_overrides(raw, overrides or {}, str(name))
        try:
            spec = PackSpec.model_validate(raw)
        except pydantic.ValidationError as error:
            override = _override_at(error, overrides or {}, raw)
            raise spelt(
                error,
                PackSpec,
                path,
                lines,
                override=override,
            ) from error
        builder = Builder(folder, spec, lines, allowed)
        check_steps(spec, builder.where)
        builder.retrieved()
        steps = tuple(builder.step(i, s) for i, s in enumerate(spec.steps))
        hashed = pack_files.digest(
            folder, repr(sorted((overrides or {}).items())).encode()
        )
        names = [step.name for step in spec.steps]
        said = {".".join(place_of(key, names)) for key in overrides or ()}
        named = frozenset(key for key in said if key.endswith(".file"))
        pools = builder.pools()
        exports = builder.exports(whole=not overrides)
        return cls(spec, folder, steps, exports, hashed, pools, named)

    @property
    def demonstrates(self) -> bool:
        """Whether any step shows demonstrations."""
        return any(step.demonstrations or step.chosen for step in self.steps)

    def cases(self) -> list[Fields]:
        """The cases of cases.yaml, each with `about`, `inputs` and `replies`; none where the pack
        has no such file.

        Raises:
            WrongUse: no regular file inside the pack, or cases of another shape.
        """
        path = self.folder / "cases.yaml"
        if not os.path.lexists(path):
            return []
        text = read_text_inside(self.folder, "cases.yaml")
        raw, lines = parse_yaml(text, path)
        try:
            spec = CasesSpec.model_validate(raw)
        except pydantic.ValidationError as error:
            raise spelt(error, CasesSpec, path, lines) from error
        known = [step.name for step in self.said]
        for index, case in enumerate(spec.cases):
            for name in case.renders:
                if name not in known:
                    at = ("cases", index, "renders", name)
                    raise WrongUse(
                        f"{path}:{line_of(lines, at)}",
                        f"step {name!r}",
                        "a step of the pack",
                        did_you_mean(name, known),
                    )
        return [case.model_dump(exclude_none=True) for case in spec.cases]

    def values(self, row: Row) -> Fields:
        """What templates see of a seed: every declared input (None where optional and absent),
        constants, examples.
        """
        before, behind = self.spec.around
        values = {**before, **row, **behind}
        if dict not in map(type, row.values()):
            return values
        for name, value in row.items():
            if type(value) is dict and name not in behind and has_labels(value):
                values[name] = list(value["text"])
        return values

    def aliases(self, columns: Row) -> dict[str, str]:
        """Input columns that stand for a declared input which the rows do not have under its own
        name.
        """
        out: dict[str, str] = {}
        for name, spec in self.spec.inputs.items():
            alias = next((a for a in spec.aliases if a in columns), None)
            if name not in columns and alias:
                out[alias] = name
        return out

    def rename(self, columns: Row) -> dict[str, str]:
        """What the rows' columns are called on the line: inputs by their aliases, and `seed_NAME`
        where a step writes NAME.
        """
        aliases = self.aliases(columns)
        free = (
            set()
            if "sft" in self.exports
            else {"prompt", "completion"} & self.spec.inputs.keys()
        )  # nothing is rendered under these names
        taken = (
            {
                *RENDERED,
                *(name for step in self.steps for name in step.produces()),
                *self.exported_lists,
            }
            - {"id"}
            - free
        )
        return {
            **{name: f"seed_{name}" for name in columns if name in taken},
            **aliases,
        }

    @cached_property
    def exported_lists(self) -> list[str]:
        """Lists of texts that are looked up and that an export reads: rows keep them."""
        read: set[str] = set()
        for name, task, each, _ in self.spec.exports.tasks():
            if each:
                read.add(each.partition(".")[0])
            for template in self.exports[name][task].values():
                read |= template.variables
        blocks = self.spec.retrieves.values()
        return [block.into for block in blocks if block.into in read]

    @cached_property
    def _inputs(self) -> list[tuple[str, InputSpec]]:
        return list(self.spec.inputs.items())

    def check_row(self, row: Row, location: str) -> None:
        """Raises WrongUse where a seed lacks a declared input or has it with another kind."""
        for name, spec in self._inputs:
            value = row.get(name)
            if value is None:
                value = first_given(row, spec.aliases)
            if value is None or (value == "" and not spec.optional):
                if not spec.optional:
                    got = (
                        f"fields {', '.join(row) or '(none)'}"
                        if name not in row
                        else f"an empty {name!r}"
                    )
                    hint = (
                        "Fill it in, or take the row out."
                        if name in row
                        else column_hint(name, row)
                        or f"Name the column that holds it: --column {name}=COLUMN."
                    )
                    raise RowFault(
                        location,
                        got,
                        f"field {name!r} ({spec.type})",
                        hint,
                    )
            elif isinstance(value, Base64):
                todo = "Name another column with --column, or write the file with its text."
                raise RowFault(
                    location,
                    f"{name}, which holds bytes that are no text",
                    spec.type,
                    todo,
                )
            elif not spec.fits(value):
                raise RowFault(
                    location,
                    f"{name} = {value!r}"[:200],
                    spec.type,
                    "Correct the row.",
                )


def _folder(name: str | Path) -> Path:
    """A bare name is a built-in pack's, whatever folders lie around; a folder of that name is
    `./NAME`. A name that is neither is an installed pack's.
    """
    path = Path(name)
    bare = isinstance(name, str) and path.name == name
    if bare and name in pack_names():
        return built_in() / name
    if (path / "pack.yaml").is_file():
        return path
    if str(name) in pack_names():
        return built_in() / str(name)
    if name in installed("packs"):
        return installed_folder(str(name))
    wanted = "a built-in name or a folder with pack.yaml"
    got = "no such pack"
    todo = did_you_mean(str(name), {*pack_names(), *installed("packs")})
    if not bare:
        todo = "Look at the path; `synth list packs` names the built-in ones."
    if path.is_dir():
        got = "a folder without pack.yaml"
        todo = "`synth init pack NAME` writes one that runs."
    elif path.name == "pack.yaml" and path.is_file():
        got = "a file"
        todo = f"Name its folder: {path.parent}."
    raise WrongUse(f"pack {str(name)!r}", got, wanted, todo)


def installed_folder(name: str) -> Path:
    """The folder of a pack that an installed package announces: a package whose folder it is, or
    the path of one.

    Raises:
        WrongUse: it is neither.
    """
    where = f"pack {name!r}"
    target = announced("packs", name, where)
    places = getattr(target, "__path__", None)
    if places:
        target = next(iter(places))
    if (
        isinstance(target, str | Path)
        and (Path(target) / "pack.yaml").is_file()
    ):
        return Path(target)
    raise WrongUse(
        where,
        f"{target!r}, as its package announces it"[:200],
        "a package that holds pack.yaml, or the path of such a folder",
        "Mend or uninstall that package.",
    )


def _override_at(
    error: pydantic.ValidationError, overrides: Row, raw: Row
) -> tuple[str, Any] | None:
    """The override that put a fault there, None where the file did."""
    at = place_of_fault(first_fault(error))
    for key, value in overrides.items():
        if _stands_at(key, at, raw):
            return key, value
    return None


def _stands_at(override: str, at: tuple[Any, ...], raw: Row) -> bool:
    """Whether an override wrote what stands at a place of the pack."""
    names = [
        str(step.get("name")) if isinstance(step, dict) else ""
        for step in raw.get("steps") or []
    ]
    keys = place_of(override, names)
    keys_of_override = (
        ("steps", names.index(keys[0]), *keys[1:])
        if keys[0] in names
        else tuple(keys)
    )
    shorter = min(len(keys_of_override), len(at))
    # A step's place is two keys, a block's is one.
    place = 2 if keys_of_override[0] == "steps" else 1
    return shorter > place and at[:shorter] == keys_of_override[:shorter]
