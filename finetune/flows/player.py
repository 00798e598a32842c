"""A flow is played: stage after stage, round after round, each once. The same call again goes on
where it was stopped.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from finetune.core.rows import JsonObject
from finetune.flows import rights, stages
from finetune.flows.artifacts import (
    Artifact,
    Result,
    given_model,
    given_rows,
    mark_of,
    rows_of,
)
from finetune.flows.choices import check_choices
from finetune.flows.columns import check_columns
from finetune.flows.formulas import Formula, rendered
from finetune.flows.loading import (
    INPUT,
    STUDENT,
    Flow,
    alternatives_of,
    is_earlier,
    references_of,
    rounds_back,
    sources_of,
)
from finetune.flows.overlap import overlaps
from finetune.flows.records import check_output, shown, write_record
from finetune.flows.rounds import settled
from finetune.flows.row_schema import Reference, Scalar
from finetune.flows.run_settings import check_runs
from finetune.flows.schema import PoolSpec, StageSpec, as_read, leaves_of
from finetune.flows.selecting import Select, distinct
from finetune.flows.tooling import bound_to, check_tools, players_of
from finetune.students import scratch
from finetune.students.load import load_tokenizer
from synth.calls.journal import held
from synth.calls.price import no_price, price_of
from synth.core.errors import NothingKept, WrongUse, did_you_mean
from synth.inputs.seeds import write_jsonl
from synth.local_models.minilm import folder_of
from synth.packs.pack import Pack
from synth.pipeline.prepare import asking_files
from synth.runs.ledger import cost_of
from synth.teachers.base import Settings, open_teacher
from synth.teachers.wire.access import Access, by_role, for_role

RESULT = "stage.json"
_UNFINISHED = ".part"


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """What `finetune flow` is told.

    Attributes:
        flow: a flow that is checked.
        inputs: name -> file of rows; `input` and what the flow names besides.
        models: name -> model; `student` and what the flow names besides.
        teachers: role of the flow -> PROVIDER/MODEL.
        output: a folder for everything that the flow makes.
        budget: dollars for all paid calls of all rounds.
        run: fields of a run, as `synth.run` takes them, by the flow's roles.
        overrides: `STAGE.key` -> value, as the user said it; such a setting is not asked for its
            rights.
        tools: tool of a pack -> `module:function`, or the role of the flow that plays it; for every
            pack that has a tool of this name.
        plugins: modules that the user allows.
    """

    flow: Flow
    inputs: Mapping[str, str]
    models: Mapping[str, str]
    teachers: Mapping[str, str]
    output: Path
    budget: float | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, object] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()


def check(config: FlowConfig) -> None:
    """All that the flow asks for is given, and nothing else.

    Raises:
        WrongUse: the first thing that is missing or unknown.
    """
    spec = config.flow.spec
    players = dict.fromkeys(
        players_of(config.tools), "a teacher that plays a tool"
    )
    for option, wanted, given in (
        ("--rows", {INPUT: "", **spec.inputs}, config.inputs),
        ("--model", {STUDENT: "", **spec.models}, config.models),
        ("--teacher", {**players, **spec.teachers}, config.teachers),
    ):
        for name in given:
            if name not in wanted:
                raise WrongUse(
                    option,
                    f"{name!r}",
                    "a name that the flow asks for",
                    did_you_mean(name, wanted),
                )
        used = [name for name in wanted if _is_read(config.flow, name)]
        for name in used:
            if name not in given:
                about = wanted[name] or f"the flow's {name}"
                raise WrongUse(
                    option,
                    f"none for {name!r}",
                    about.rstrip("."),
                    f"Add {_spelt(option, name)}.",
                )
    check_tools(config.flow, config.tools, config.plugins)
    check_runs(config.flow, config.tools, config.plugins)


def check_sizes(config: FlowConfig) -> None:
    """Models that are built on the spot have a size that there is.

    Raises:
        WrongUse: one that has none.
    """
    for name, model in config.models.items():
        if scratch.is_scratch(model):
            where = "--student" if name == STUDENT else f"--model {name}"
            scratch.size_of(model, where)


def check_reach(config: FlowConfig) -> None:
    """What the user names can be opened and paid before anything is: a later stage would find out
    too late.

    Raises:
        WrongUse: a student that is nowhere, a teacher of no provider, without its key or endpoint,
            or a budget with a teacher of no known price.
    """
    check_sizes(config)
    prices = by_role(config.run.get("price"))
    said = config.run
    access = Access(
        api_base=by_role(said.get("api_base")),
        endpoints=by_role(said.get("endpoints")),
        api_key_env=by_role(said.get("api_key_env")),
        header=said.get("header", {}),
    )
    access.check(config.teachers)
    for role, name in config.teachers.items():
        reach = access.reach(role, name)
        if reach["endpoints"] is None:
            open_teacher(name, Settings(**reach))
        price = price_of(name, for_role(prices, role))
        if config.budget is not None and price is None:
            raise no_price(name, role)
    students: set[str] = set()
    for stage in config.flow.spec.stages():
        students.update((stage.student or "").split(" or "))
    for name, model in config.models.items():
        folder = folder_of(model)
        is_there = scratch.is_scratch(model) or Path(folder).exists()
        if name in students and not is_there:
            load_tokenizer(model)


def _spelt(option: str, name: str) -> str:
    """An option as it would be typed."""
    if name in (INPUT, STUDENT):
        return f"--{name} {'FILE' if name == INPUT else 'MODEL'}"
    return f"{option} {name}=..."


def _is_read(flow: Flow, name: str) -> bool:
    """Whether anything in a flow reads what the user gives under a name."""
    if name in flow.spec.teachers or name not in (INPUT, STUDENT):
        return True
    references = []
    for pool in flow.spec.pools.values():
        for said in [pool.start, *pool.add]:
            references += said.split(" or ")
    for stage in flow.spec.stages():
        references += alternatives_of(stage)
    return name in references


class Player:
    """One flow with what the user gives.

    Args:
        config: what the command was told.
        train: command of `finetune` -> what runs it.
        say: takes a line about each stage.

    Raises:
        WrongUse: something is missing, or the folder is another flow's.
    """

    def __init__(
        self,
        config: FlowConfig,
        train: Mapping[str, stages.Train],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        check(config)
        check_output(config.output, config.flow.name)
        self.config = config
        self.flow = config.flow
        self.spec = config.flow.spec
        self.before: dict[str, Result] = {}
        self.rounds: list[dict[str, Result]] = []
        self.after: dict[str, Result] = {}
        self.scores: list[float] = []
        self.ended = ""
        self._usd = cost_of(config.output)
        self._train = train
        self._say = say
        self._fixed = {
            **{name: given_rows(file) for name, file in config.inputs.items()},
            **{name: given_model(one) for name, one in config.models.items()},
            **{
                role: Artifact("teacher", role, mark_of(name))
                for role, name in config.teachers.items()
            },
        }
        rows = {name: self._fixed[name] for name in config.inputs}
        check_columns(self.flow, rows)
        check_choices(self.spec, rows)
        for text in overlaps(self.spec, rows):
            say(text)

    def play(self) -> JsonObject:
        """Plays what is not played yet.

        Returns:
            The content of OUTPUT/flow.json.

        Raises:
            Unfinished: a run stopped; the same call goes on.
            NothingKept: a stage has nothing to go on with.
        """
        self.config.output.mkdir(parents=True, exist_ok=True)
        with held(self.config.output / "lock"):
            self._write()
            for stage in self.spec.before:
                self._stage(stage, "before", self.before)
            self._play_rounds()
            for stage in self.spec.after:
                self._stage(stage, "after", self.after)
            return self._write(complete=True)

    def _play_rounds(self) -> None:
        rounds = self.spec.rounds
        if rounds is None:
            return
        values = self.spec.values
        most = Formula(rounds.most, "rounds.most").whole(values, 1)
        patience = Formula(rounds.patience, "rounds.patience").whole(values)
        while len(self.rounds) < most:
            current: dict[str, Result] = {}
            try:
                for stage in rounds.stages:
                    self._stage(stage, f"round{len(self.rounds)}", current)
            except NothingKept as error:
                if not self.rounds:
                    raise
                self.ended = str(error)
                return
            self.rounds.append(current)
            self._score(rounds.measure, falls=rounds.falls)
            self._write()
            if patience and settled(self.scores, patience):
                self.ended = f"{patience} rounds without a better measure"
                return
        self.ended = f"{most} rounds"

    def _score(self, measure: Reference | None, *, falls: bool) -> None:
        """Notes what the round just played came to; more is better."""
        if measure is None:
            return
        stage, _, name = measure.partition(".")
        result = self.rounds[-1][stage]
        value = float(result.part(name, "rounds.measure").where)
        self.scores.append(-value if falls else value)

    @property
    def best(self) -> int | None:
        """The round with the best measure, the first of them."""
        if not self.scores:
            return None
        return self.scores.index(max(self.scores))

    def _stage(
        self, stage: StageSpec, phase: str, current: dict[str, Result]
    ) -> None:
        """Plays a stage, or takes what it left."""
        desk, mark = self._desk(stage, phase, current)
        done = Result.read(desk.folder / RESULT, self.config.output)
        if done is None or done.mark != mark:
            done = self._played(desk, mark)
            if stage.kind == "run":
                self._usd = cost_of(self.config.output)
        current[stage.name] = done
        self._write()

    def _played(self, desk: stages.Desk, mark: str) -> Result:
        started = time.time()
        work = desk.folder
        if desk.stage.kind != "run":
            # A run goes on in its folder. Anything else is shown when it is whole; a training goes
            # on from its checkpoint where it can, the rest is made anew.
            work = desk.folder.with_name(desk.folder.name + _UNFINISHED)
            if desk.stage.train not in stages.RESUMABLE:
                shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        try:
            left = stages.play(replace(desk, folder=work))
        except KeyboardInterrupt as error:
            if error.args:
                raise
            text = "interrupted; the same command goes on from here"
            raise KeyboardInterrupt(f"{desk.where}: {text}") from error
        except stages.NoRows:
            # It wrote nothing: the rounds end here.
            with contextlib.suppress(OSError):
                work.rmdir()
            raise
        parts = {}
        for name, (path, part) in left.rows.items():
            place = desk.folder / path.relative_to(work)
            parts[name] = Artifact(
                "rows", str(place), mark_of([mark, name]), part
            )
        if left.model is not None:
            parts["student"] = Artifact("model", str(desk.folder), mark)
        folder = str(desk.folder.relative_to(self.config.output))
        result = Result(
            mark,
            folder,
            parts,
            dict(left.measures),
            left.facts or {},
            round(time.time() - started, 2),
        )
        result.write(work / RESULT, self.config.output)
        if work != desk.folder:
            work.replace(desk.folder)
        self._say(f"{desk.where}: {_told(result)}")
        return result

    def _desk(
        self, stage: StageSpec, phase: str, current: Mapping[str, Result]
    ) -> tuple[stages.Desk, str]:
        """A stage with all that it reads, and its mark."""
        where = f"{stage.name} ({phase})"
        values = {**self.spec.values, "round": len(self.rounds)}
        source = [
            self._found(reference, current, where)
            for reference in sources_of(stage)
        ]
        inputs = {
            name: self._found(reference, current, where)
            for name, reference in references_of(stage).items()
        }
        settings = self._settings(stage, values)
        pack = "" if stage.pack_named is None else self.flow.pack(stage)
        seen = _templates_of(stage) & values.keys()
        content = {
            # Its name says nothing of what it does.
            "stage": {**as_read(stage), "name": "", "set": settings},
            "source": [artifact.mark for artifact in source],
            "inputs": {name: found.mark for name, found in inputs.items()},
            "values": {name: values[name] for name in sorted(seen)},
            "pack": self._pack_mark(stage, pack),
        }
        mark = mark_of(content)
        folder = self.config.output / phase / f"{stage.name}-{mark}"
        desk = stages.Desk(
            stage=stage,
            where=where,
            source=source,
            inputs=inputs,
            teachers=self.config.teachers,
            settings=settings,
            values=values,
            folder=folder,
            output=self.config.output,
            pack=pack,
            budget=self.config.budget,
            run=self.config.run,
            tools=self.config.tools,
            plugins=self.config.plugins,
            train=self._train,
        )
        return desk, mark

    def _pack_mark(self, stage: StageSpec, pack: str | Path) -> list[str]:
        """What a run asks, and whom: the roles that the stage does not name are teachers'. Of a
        pack that exports, its files.
        """
        if stage.pack_named is None:
            return []
        loaded = Pack.load(pack)
        files = mark_of(asking_files(loaded.folder))
        if not stage.run:
            return [files]
        bound = bound_to(loaded, self.config.tools)
        asked = loaded.with_tools(bound, self.config.plugins).roles
        return [
            files,
            *(
                self.config.teachers[role]
                for role in sorted(asked - stage.roles.keys())
            ),
            *(f"{name}={target}" for name, target in bound.items()),
        ]

    def _settings(
        self, stage: StageSpec, values: Mapping[str, Scalar]
    ) -> dict[str, Scalar]:
        settings = {}
        for key, value in stage.set.items():
            where = f"{self.flow.spots[stage.name].line} set.{key}"
            settings[key] = rendered(value, values, where)
            if f"{stage.name}.{key}" not in self.config.overrides:
                rights.check_value(stage, key, settings[key], where)
        return settings

    def _found(
        self, reference: Reference, current: Mapping[str, Result], where: str
    ) -> Artifact:
        """What a reference leads to now: its first alternative that there is."""
        for one in reference.split(" or "):
            found = self._one(one, current, where)
            if found is not None:
                return found
        raise WrongUse(
            where, f"{reference}: not there yet", "what is", "Add `or NAME`."
        )

    def _one(
        self, one: str, current: Mapping[str, Result], where: str
    ) -> Artifact | None:
        head, _, rest = one.partition(".")
        if head in self._fixed:
            return self._fixed[head]
        if head in self.spec.pools:
            return self._pool(head, self.spec.pools[head], where)
        results: Mapping[str, Result] = {
            **self.before,
            **self._last_round(),
            **current,
        }
        if is_earlier(head):
            results = self._earlier(head)
            head, _, rest = rest.partition(".")
        if head not in results:
            return None
        name = rest or next(iter(leaves_of(self.flow.stage(head))))
        return results[head].part(name, where)

    def _last_round(self) -> Mapping[str, Result]:
        """Behind the rounds, the last of them; while they are played, none."""
        return self.rounds[-1] if self.ended else {}

    def _earlier(self, which: str) -> Mapping[str, Result]:
        """An earlier round by its word; empty where there is none yet."""
        back = rounds_back(which)
        if back is not None:
            return self.rounds[-back] if back <= len(self.rounds) else {}
        if not self.rounds:
            return {}
        return self.rounds[0 if which == "first" else self.best or 0]

    def _pool(self, name: str, pool: PoolSpec, where: str) -> Artifact:
        """A pool as it is now, in a file of its own."""
        start = self._found(pool.start, {}, where)
        parts = [start]
        for played in self.rounds:
            parts += [
                self._found(reference, played, where) for reference in pool.add
            ]
        if len(parts) == 1 and not pool.distinct:
            return start
        rule = [pool.distinct, pool.near, pool.likeness]
        mark = mark_of([rule, [part.mark for part in parts]])
        folder = self.config.output / "pools"
        path = folder / f"{name}-{mark}.jsonl"
        if not path.is_file():
            rows: Iterable[JsonObject] = (
                row for part in parts for row in rows_of(part)
            )
            if pool.distinct:
                rows = distinct(
                    rows,
                    pool.distinct,
                    pool.near,
                    pool.likeness,
                    f"pool {name}",
                )
            write_jsonl(path, rows)
        return Artifact("rows", str(path), mark)

    def _write(self, *, complete: bool = False) -> JsonObject:
        """Writes down how far the flow is."""
        return write_record(
            self.config.output,
            self.spec,
            before=self.before,
            rounds=self.rounds,
            after=self.after,
            best=self.best,
            ended=self.ended,
            complete=complete,
            usd=self._usd,
        )


def _templates_of(stage: StageSpec) -> set[str]:
    """Names that the templates of a stage read but for those of its settings, which stand in its
    mark as they are rendered.
    """
    names: set[str] = set()
    if stage.select is not None:
        names |= Select(stage.select, stage.name).variables()
        if stage.select.sample is not None:
            names.add("round")
    if stage.answer is not None:
        names |= Formula(stage.answer, stage.name).variables
    if stage.choices is not None:
        names |= Formula(stage.choices, stage.name).variables
    if stage.pair is not None:
        names |= Formula(stage.per, stage.name).variables
    if stage.apportion is not None:
        # Each round draws other rows.
        names |= {"round", *Formula(stage.count, stage.name).variables}
    if stage.search is not None and stage.search.most is not None:
        names |= Formula(stage.search.most, stage.name).variables
    return names


def _told(result: Result) -> str:
    """What a stage came to, on one line."""
    words = [
        f"{name} {shown(value)}"
        for name, value in result.facts.items()
        if isinstance(value, int | float)
        or (isinstance(value, Mapping) and "share" in value)
    ]
    return f"{', '.join(words)}, {result.seconds:.0f} s"
