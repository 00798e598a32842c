"""A flow: the folder of a system with its flow.yaml, checked whole before anything is asked or
trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import pydantic

from finetune.flows import rights
from finetune.flows.formulas import Formula, rendered
from finetune.flows.row_schema import Reference, Scalar, as_setting
from finetune.flows.schema import (
    MOST_ROUNDS,
    FlowSpec,
    Part,
    RoundsSpec,
    StageSpec,
    leaves_of,
)
from finetune.flows.selecting import Select, exports_of
from synth.core.bare_words import read_like
from synth.core.errors import WrongUse, did_you_mean
from synth.core.strict_yaml import line_of, parse_yaml
from synth.packs.files import FLOW, read_text_inside
from synth.packs.pack import Pack, built_in, pack_names
from synth.packs.spelling import spelt

FILE = FLOW
OWN_PACK = "."
INPUT = "input"
STUDENT = "student"
# References that lead to rows, besides those that are joined or searched.
_ROWS = ("corpus", "other", "retrieve")
EARLIER = ("previous", "first", "best")
# `previous5` is five rounds back.
_BACK = re.compile(r"previous([1-9]\d{0,2})?")
# What templates of a stage see by themselves.
_SEEN = ("round", "row", "rows", "group", "made", "item", "index")


def rounds_back(head: str) -> int | None:
    """How many rounds back a word leads: 1 for `previous`, 5 for `previous5`; None for another."""
    back = _BACK.fullmatch(head)
    return None if back is None else int(back[1] or 1)


def is_earlier(head: str) -> bool:
    """Whether a word stands for an earlier round."""
    return head in EARLIER or rounds_back(head) is not None


class Spot(NamedTuple):
    """Where a stage stands: in `before`, `rounds` or `after`, and its line."""

    phase: str
    line: str


@dataclass(frozen=True)
class Flow:
    """A checked flow.

    Attributes:
        folder: of flow.yaml.
        spec: what it says.
        spots: where each stage stands.
    """

    folder: Path
    spec: FlowSpec
    spots: Mapping[str, Spot]

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.spec.name

    def pack(self, stage: StageSpec) -> str | Path:
        """The pack that a stage reads, as `synth.run` takes it."""
        named = str(stage.pack_named)
        if named == OWN_PACK:
            return self.folder
        inside = self.folder / named
        if not named.startswith(".") and (inside / "pack.yaml").is_file():
            return inside
        return named

    def stage(self, name: str) -> StageSpec:
        """One of its stages."""
        return next(stage for stage in self.spec.stages() if stage.name == name)


def flow_names() -> list[str]:
    """Names of the built-in flows, sorted."""
    return sorted(path.parent.name for path in built_in().glob(f"*/{FILE}"))


def load(
    name: str | Path, overrides: Mapping[str, object] | None = None
) -> Flow:
    """A built-in flow by its name, or a folder's.

    Args:
        name: of a built-in flow, or a path.
        overrides: `STAGE.key` or `VALUE` -> what the user says instead.

    Raises:
        WrongUse: with file, line, what was found, what was wanted, what to do.
    """
    folder = _folder(name)
    path = folder / FILE
    raw, lines = parse_yaml(read_text_inside(folder, FILE), path)
    try:
        spec = FlowSpec.model_validate(raw)
    except pydantic.ValidationError as error:
        raise spelt(error, FlowSpec, path, lines) from error
    spots: dict[str, Spot] = {}
    for phase, at, stage in _placed(spec):
        line = f"{path}:{line_of(lines, at)} {stage.name}"
        if stage.name in spots:
            raise WrongUse(
                line,
                "a name that another stage has",
                "one of its own",
                "Rename it.",
            )
        rights.check(stage, line)
        spots[stage.name] = Spot(phase, line)
    flow = Flow(folder, _overridden(spec, overrides or {}), spots)
    _Checker(flow, str(path)).check()
    return flow


def _folder(name: str | Path) -> Path:
    text = str(name)
    if text in flow_names():
        return built_in() / text
    folder = Path(name)
    if (folder / FILE).is_file():
        return folder
    raise WrongUse(
        f"flow {text!r}",
        f"no {FILE} there" if folder.is_dir() else "no such flow or folder",
        f"a folder with {FILE}, or the name of a flow",
        did_you_mean(text, flow_names()),
    )


def _placed(
    spec: FlowSpec,
) -> Iterable[tuple[str, tuple[str | int, ...], StageSpec]]:
    """(phase, its path in the file, stage)."""
    for number, stage in enumerate(spec.before):
        yield "before", ("before", number), stage
    for number, stage in enumerate(_stages_of(spec.rounds)):
        yield "rounds", ("rounds", "stages", number), stage
    for number, stage in enumerate(spec.after):
        yield "after", ("after", number), stage


def _overridden(spec: FlowSpec, overrides: Mapping[str, object]) -> FlowSpec:
    """The flow with what the user says instead: of a value, `rounds`, or a stage's setting.

    Raises:
        WrongUse: no such value or stage.
    """
    values: dict[str, Scalar] = dict(spec.values)
    said: dict[str, dict[str, object]] = {}
    rounds = spec.rounds
    names = [stage.name for stage in spec.stages() if stage.may_be_told]
    for key, value in overrides.items():
        head, dot, rest = key.partition(".")
        if not dot and head in values:
            if not isinstance(value, Scalar):
                raise WrongUse(
                    f"--set {key}",
                    f"{value!r}",
                    "a number or a word",
                    f"For example --set {key}={values[head]}.",
                )
            values[head] = cast("Scalar", read_like(value, values[head]))
        elif key == "rounds" and rounds is not None:
            rounds = rounds.model_copy(update={"most": str(value)})
        elif dot and head in names:
            said.setdefault(head, {})[rest] = as_setting(rest, value)
        else:
            known = {*values, "rounds", *(f"{name}.KEY" for name in names)}
            raise WrongUse(
                f"--set {key}",
                "no such value or stage",
                "a value of the flow, `rounds`, or STAGE.KEY",
                did_you_mean(key, known),
            )
    if rounds is not None:
        stages = _told(rounds.stages, said)
        rounds = rounds.model_copy(update={"stages": stages})
    return spec.model_copy(
        update={
            "values": values,
            "before": _told(spec.before, said),
            "rounds": rounds,
            "after": _told(spec.after, said),
        }
    )


def _told(
    stages: Sequence[StageSpec], said: Mapping[str, Mapping[str, object]]
) -> list[StageSpec]:
    """Stages with the user's settings."""
    told = []
    for stage in stages:
        settings = {**stage.set, **said.get(stage.name, {})}
        told.append(stage.model_copy(update={"set": settings}))
    return told


def references_of(stage: StageSpec) -> dict[str, Reference]:
    """The references of a stage but for `from`, by the names under which it reads them."""
    named = {
        "student": stage.student,
        "before": stage.before,
        "other": stage.other,
        "retrieve": stage.retrieve,
        "corpus": stage.corpus,
        "optimizer": stage.optimizer,
        **stage.models,
        **{f"role {role}": who for role, who in stage.roles.items()},
        **{f"join {name}": join.rows for name, join in stage.join.items()},
        **{f"near {name}": near.rows for name, near in stage.nearest.items()},
        **{f"number {name}": said for name, said in stage.numbers.items()},
    }
    return {name: said for name, said in named.items() if said is not None}


def sources_of(stage: StageSpec) -> list[Reference]:
    """The references of its rows."""
    return list(stage.source or stage.mix or [])


def alternatives_of(stage: StageSpec) -> list[Reference]:
    """Each single thing that a stage may read, alternatives apart."""
    said = [*sources_of(stage), *references_of(stage).values()]
    return [one for reference in said for one in reference.split(" or ")]


class _Checker:
    """Looks whether every name leads somewhere, and to the right kind of thing."""

    def __init__(self, flow: Flow, path: str) -> None:
        self.flow = flow
        self.spec = flow.spec
        self.path = path
        self.fixed: dict[str, Part] = {
            INPUT: "rows",
            STUDENT: "model",
            **dict.fromkeys(self.spec.inputs, "rows"),
            **dict.fromkeys(self.spec.models, "model"),
            **dict.fromkeys(self.spec.teachers, "teacher"),
            **dict.fromkeys(self.spec.pools, "rows"),
        }
        self.kinds = {stage.name: stage.kind for stage in self.spec.stages()}

    def check(self) -> None:
        self._names()
        seen: set[str] = set()
        for stage in self.spec.stages():
            spot = self.flow.spots[stage.name]
            self._stage(stage, spot, seen)
            seen.add(stage.name)
        self._pools()
        self._rounds()

    def _names(self) -> None:
        """Each name stands for one thing."""
        names = [
            INPUT,
            STUDENT,
            *EARLIER,
            *_SEEN,
            *self.spec.inputs,
            *self.spec.models,
            *self.spec.teachers,
            *self.spec.pools,
            *self.spec.values,
            *self.kinds,
        ]
        for name in names:
            if names.count(name) > 1 or rounds_back(name) not in (None, 1):
                raise WrongUse(
                    self.path,
                    f"{name!r} twice",
                    "one thing a name",
                    "Rename one.",
                )

    def _stage(self, stage: StageSpec, spot: Spot, seen: set[str]) -> None:
        for reference in sources_of(stage):
            self._leads(reference, {"rows"}, spot, seen)
        for name, reference in references_of(stage).items():
            kinds: set[Part] = {"model"}
            if name.startswith("role "):
                kinds = {"model", "teacher"}
            elif name.startswith(("join ", "near ")) or name in _ROWS:
                kinds = {"rows"}
            elif name.startswith("number "):
                kinds = {"number"}
            self._leads(reference, kinds, spot, seen)
        self._templates(stage, spot)
        if stage.pack_named is not None:
            self._pack(stage, spot)
        if stage.kind == "export":
            self._export(stage, spot)

    def _leads(
        self,
        reference: Reference,
        kinds: set[Part],
        spot: Spot,
        seen: set[str],
    ) -> None:
        """A reference, alternative by alternative."""
        alternatives = reference.split(" or ")
        for one in alternatives:
            kind = self._kind(one, spot, seen)
            if kind not in kinds:
                raise WrongUse(
                    spot.line,
                    f"{one}: {_article(kind)}",
                    " or ".join(_article(wanted) for wanted in sorted(kinds)),
                    "Name another part.",
                )
        last = alternatives[-1].partition(".")[0]
        if spot.phase == "rounds" and is_earlier(last):
            raise WrongUse(
                spot.line,
                f"{reference}, of which the first round has nothing",
                "what the first round reads",
                f"Write `{reference} or NAME`.",
            )

    def _kind(self, one: str, spot: Spot, seen: set[str]) -> Part:
        head, _, rest = one.partition(".")
        if head in self.fixed:
            if rest:
                raise self._unknown(one, spot)
            if head in self.spec.pools and spot.phase == "before":
                # What it starts with is there by then, and is no pool itself.
                start = self.spec.pools[head].start
                for begun in start.split(" or "):
                    is_pool = begun in self.spec.pools
                    if is_pool or self._kind(begun, spot, seen) != "rows":
                        raise self._unknown(one, spot)
            return self.fixed[head]
        if is_earlier(head):
            head, _, rest = rest.partition(".")
            stage = self.flow.spots.get(head)
            if (
                stage is None
                or stage.phase != "rounds"
                or spot.phase == "before"
            ):
                raise self._unknown(one, spot)
        elif head not in seen:
            raise self._unknown(one, spot)
        leaves = leaves_of(self.flow.stage(head))
        name = rest or next(iter(leaves))
        if name not in leaves:
            raise WrongUse(
                spot.line,
                f"{one}: no such part",
                f"one of {', '.join(leaves)}",
                did_you_mean(name, leaves),
            )
        return leaves[name]

    def _unknown(self, one: str, spot: Spot) -> WrongUse:
        name = one.partition(".")[0]
        known = [*self.fixed, *self.kinds, *EARLIER]
        if name in EARLIER:
            name = one
            which = one.partition(".")[0]
            of_rounds = _stages_of(self.spec.rounds)
            known = [f"{which}.{stage.name}" for stage in of_rounds]
        return WrongUse(
            spot.line,
            f"{one}: nothing that there is by then",
            "what is given, a stage before this one, or one of an earlier round",
            did_you_mean(name, known),
        )

    def _pack(self, stage: StageSpec, spot: Spot) -> None:
        named = str(stage.pack_named)
        outside = Path(named).is_absolute() or ".." in Path(named).parts
        if outside or not self._is_pack(named):
            raise WrongUse(
                spot.line,
                f"{'run' if stage.run else 'pack'}: {named!r}",
                "a built-in pack, `.`, or a folder inside the flow's",
                did_you_mean(named, pack_names()),
            )
        pack = self._loaded(stage, spot)
        if stage.select is not None:
            exports_of(stage.select, pack, f"{spot.line} select")
            return
        for role in sorted(pack.roles - stage.roles.keys()):
            if role not in self.spec.teachers:
                raise WrongUse(
                    spot.line,
                    f"nobody for the role {role!r} of pack {pack.name}",
                    "a teacher of the flow, or a student",
                    f"Add it to `teachers`, or write `roles: {{{role}: NAME}}`.",
                )
        for role in stage.roles:
            if role not in pack.roles:
                raise WrongUse(
                    spot.line,
                    f"roles.{role}",
                    f"a role of pack {pack.name}: {', '.join(sorted(pack.roles))}",
                    did_you_mean(role, pack.roles),
                )

    def _loaded(self, stage: StageSpec, spot: Spot) -> Pack:
        """The pack with what the stage says of its steps, as the first round will have it."""
        values = {**self.spec.values, "round": 0}
        steps = {
            key: rendered(value, values, f"{spot.line} set.{key}")
            for key, value in stage.set.items()
            if "." in key
        }
        try:
            return Pack.load(self.flow.pack(stage), steps)
        except WrongUse as error:
            where, *more = error.args
            if not where.startswith("--set "):
                raise
            place = where.removeprefix("--set ")
            raise WrongUse(f"{spot.line} set.{place}", *more) from error

    def _is_pack(self, named: str) -> bool:
        if named == OWN_PACK:
            return (self.flow.folder / "pack.yaml").is_file()
        return (
            named in pack_names()
            or (self.flow.folder / named / "pack.yaml").is_file()
        )

    def _templates(self, stage: StageSpec, spot: Spot) -> None:
        """Names that templates read are names that they see."""
        used: set[str] = set()
        allowed = {*self.spec.values, "round"}
        for key, value in stage.set.items():
            if isinstance(value, str) and "{" in value:
                where = f"{spot.line} set.{key}"
                self._sees(Formula(value, where).variables, allowed, spot)
                # As the first round will have it.
                rendered(value, {**self.spec.values, "round": 0}, where)
        if stage.kind == "pair":
            self._number(stage.per, f"{spot.line} per", 1, spot)
        if stage.kind == "apportion":
            self._number(stage.count, f"{spot.line} count", 1, spot)
        if stage.search is not None and stage.search.most is not None:
            self._number(stage.search.most, f"{spot.line} search.most", 0, spot)
        self._beside(stage, spot)
        allowed |= {*_SEEN, *stage.join, *stage.nearest, *stage.numbers}
        if stage.select is not None:
            used = Select(stage.select, f"{spot.line} select").variables()
        if stage.answer is not None:
            used = set(Formula(stage.answer, f"{spot.line} answer").variables)
        if stage.choices is not None:
            used |= Formula(stage.choices, f"{spot.line} choices").variables
        self._sees(used, allowed, spot)

    def _beside(self, stage: StageSpec, spot: Spot) -> None:
        """What templates of a `select` see beside the row has names of its own."""
        if stage.select is not None and stage.select.most is not None:
            self._number(stage.select.most, f"{spot.line} select.most", 0, spot)
        names = [*stage.join, *stage.nearest, *stage.numbers]
        for name in names:
            taken = {*self.spec.values, *_SEEN}
            if name in taken or names.count(name) > 1:
                raise WrongUse(
                    spot.line,
                    f"{name!r}, under which templates see something else",
                    "a name of its own for what is joined, near or measured",
                    "Rename it.",
                )
        for name, near in stage.nearest.items():
            # Its templates see the columns of the row that is found.
            Formula(near.show, f"{spot.line} nearest.{name}.show")

    def _number(self, source: str, where: str, least: int, spot: Spot) -> None:
        """A whole number, as the first round will have it; its template sees no row."""
        formula = Formula(source, where)
        self._sees(formula.variables, {*self.spec.values, "round"}, spot)
        formula.whole({**self.spec.values, "round": 0}, least)

    def _sees(self, used: Iterable[str], allowed: set[str], spot: Spot) -> None:
        for name in sorted(used):
            if name not in allowed:
                raise WrongUse(
                    spot.line,
                    f"a template that reads {name!r}",
                    ", ".join(sorted(allowed)),
                    did_you_mean(name, allowed),
                )

    def _export(self, stage: StageSpec, spot: Spot) -> None:
        sources = sources_of(stage)
        names = [one for said in sources for one in said.split(" or ")]
        for one in names:
            first, _, rest = one.partition(".")
            head = rest.partition(".")[0] if is_earlier(first) else first
            if self.kinds.get(head) != "run" or one.endswith(".dropped"):
                raise WrongUse(
                    spot.line,
                    f"export from {one}",
                    "the kept rows of a stage `run`, which knows its pack",
                    "Name one.",
                )
        if len(sources) > 1:
            raise WrongUse(
                spot.line,
                "several runs",
                "one",
                "Export each, and join the rows.",
            )

    def _pools(self) -> None:
        """A pool starts with what is there before the rounds, and grows by what a round leaves."""
        before = {stage.name for stage in self.spec.before}
        by_then = before | {
            stage.name for stage in _stages_of(self.spec.rounds)
        }
        for name, pool in self.spec.pools.items():
            line = f"{self.path} pools.{name}"
            start = Spot("before", line)
            self._leads(pool.start, {"rows"}, start, before)
            spot = Spot("rounds", line)
            for reference in pool.add:
                self._leads(reference, {"rows"}, spot, by_then)
            said = [pool.start, *pool.add]
            for one in [one for text in said for one in text.split(" or ")]:
                head = one.partition(".")[0]
                if head in self.spec.pools or head in EARLIER:
                    raise self._unknown(one, spot)

    def _rounds(self) -> None:
        rounds = self.spec.rounds
        if rounds is None:
            return
        spot = Spot("after", f"{self.path} rounds")
        for name in ("most", "patience"):
            formula = Formula(getattr(rounds, name), f"{spot.line}.{name}")
            self._sees(formula.variables, {*self.spec.values}, spot)
            number = formula.whole(self.spec.values)
            if name == "most" and not 1 <= number <= MOST_ROUNDS:
                raise WrongUse(
                    f"{spot.line}.most",
                    f"{number}",
                    f"1 to {MOST_ROUNDS:,}",
                    "Correct it.",
                )
        if rounds.measure is not None:
            self._measure(rounds.measure, spot)
        elif any(
            one.partition(".")[0] == "best"
            for stage in self.spec.stages()
            for one in alternatives_of(stage)
        ):
            raise WrongUse(
                spot.line,
                "`best` without a measure",
                "`measure`, which says which round is best",
                "Add it.",
            )

    def _measure(self, measure: Reference, spot: Spot) -> None:
        """What rounds are compared by: a number that each of them makes."""
        self._leads(measure, {"number"}, spot, set(self.kinds))
        stage, _, _ = measure.partition(".")
        of_rounds = [stage.name for stage in _stages_of(self.spec.rounds)]
        if stage not in of_rounds or " or " in measure:
            raise WrongUse(
                f"{spot.line}.measure",
                measure,
                "one number of a stage of the rounds",
                did_you_mean(stage, of_rounds),
            )


def _stages_of(rounds: RoundsSpec | None) -> Sequence[StageSpec]:
    return () if rounds is None else rounds.stages


def _article(kind: str) -> str:
    return kind if kind == "rows" else f"a {kind}"
