"""What a flow would do, before it asks or trains anything: stages, rows, calls, dollars, minutes.

What a stage makes is not known yet, so that a later one is counted as if nothing were dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

from finetune.core.rows import JsonObject
from finetune.flows.artifacts import given_rows, rows_of
from finetune.flows.columns import check_columns
from finetune.flows.formulas import Formula, rendered
from finetune.flows.loading import is_earlier, sources_of
from finetune.flows.overlap import overlaps
from finetune.flows.player import FlowConfig, check_sizes
from finetune.flows.records import RECORD, check_output
from finetune.flows.row_schema import Reference
from finetune.flows.run_settings import RunSettings, parted
from finetune.flows.schema import FlowSpec, StageSpec
from finetune.flows.tooling import bound_to
from synth.core.errors import WrongUse
from synth.core.money import dollars
from synth.core.strict_yaml import read_yaml
from synth.packs.case_schema import CasesSpec
from synth.packs.pack import Pack
from synth.pipeline.plan import LIST_LENGTH, Plan, make_plan
from synth.pipeline.prepare import RunConfig, load_pack, prepare
from synth.teachers.wire.access import by_role, for_role

# Rows that are rendered to measure what a run asks; more of them are counted like these.
_SAMPLE = 200
_NOWHERE = Path("nowhere")
_LATER = "each later round"


class Cost(NamedTuple):
    """Calls at most, and dollars at most; None where a price or a limit of tokens is not known."""

    calls: int
    usd: float | None

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        unknown = self.usd is None or other.usd is None
        usd = None if unknown else (self.usd or 0.0) + (other.usd or 0.0)
        return Cost(self.calls + other.calls, usd)

    def times(self, factor: int) -> Cost:
        """The same so many times."""
        usd = None if self.usd is None else self.usd * factor
        return Cost(self.calls * factor, usd)

    def __str__(self) -> str:
        if not self.calls:
            return "no call"
        usd = "at a price nobody knows"
        if self.usd is not None:
            usd = dollars(self.usd)
        return f"at most {self.calls:,} calls, {usd}"


class _Planner:
    """Walks a flow once, with rows counted instead of made."""

    def __init__(self, config: FlowConfig) -> None:
        self.config = config
        self.spec = config.flow.spec
        inputs = {
            name: given_rows(file) for name, file in config.inputs.items()
        }
        check_columns(config.flow, inputs)
        self.overlaps = overlaps(self.spec, inputs)
        self.given = {
            name: list(islice(rows_of(file), 1_000_000))
            for name, file in inputs.items()
        }
        self.counts = {name: len(rows) for name, rows in self.given.items()}
        # Whether a round before this one has been counted.
        self.later = False

    def _now(self, reference: Reference) -> str:
        """The alternative of a reference that is there by now."""
        for one in reference.split(" or "):
            head, _, rest = one.partition(".")
            if not is_earlier(head):
                return one
            if self.later:
                return rest
        return ""

    def stages(self, stages: Sequence[StageSpec]) -> tuple[list[str], Cost]:
        """(a line a stage, what all of them cost)."""
        lines = []
        cost = Cost(0, 0.0)
        for stage in stages:
            rows = sum(map(self._rows, sources_of(stage)))
            text, its = self._stage(stage, rows)
            lines.append(f"  {stage.name:<14} {stage.kind:<9} {text}")
            cost = cost.plus(its)
        return lines, cost

    def _rows(self, reference: Reference) -> int:
        """Rows at most."""
        head = self._now(reference).partition(".")[0]
        pool = self.spec.pools.get(head)
        if pool is None:
            return self.counts.get(head, 0)
        return self._rows(pool.start)

    def _stage(self, stage: StageSpec, rows: int) -> tuple[str, Cost]:
        values = {**self.spec.values, "round": 0}
        settings = {
            key: rendered(value, values, stage.name)
            for key, value in stage.set.items()
        }
        cost = Cost(0, 0.0)
        left = rows
        text = f"{rows:,} rows"
        if stage.kind == "run":
            left, cost = self._run(stage, parted(settings), rows)
            text += f", {cost}"
        elif stage.kind in ("evaluate", "answer"):
            left *= int(settings.get("draws", 1))
        elif stage.kind == "apportion":
            left = Formula(stage.count, stage.name).whole(values)
        elif most := _most_of(stage):
            left = min(left, Formula(most, stage.name).whole(values))
        elif stage.kind == "train":
            steps = self._steps(stage)
            epochs = settings.get("num_train_epochs")
            if steps:
                text += f", {steps} steps"
            elif epochs is not None:
                text += f", {epochs} epochs"
        self.counts[stage.name] = left
        return f"at most {text}" if rows != self._exact(stage) else text, cost

    def _steps(self, stage: StageSpec) -> str:
        """Steps of a training, from the first to the last of the rounds that are counted; empty
        where it goes by epochs.
        """
        said = stage.set.get("max_steps")
        if said is None:
            return ""
        rounds = [0]
        if self.later:
            rounds = [1, most_rounds(self.spec) - 1]
        counts = [
            str(
                rendered(
                    said, {**self.spec.values, "round": number}, stage.name
                )
            )
            for number in rounds
        ]
        return " to ".join(dict.fromkeys(counts))

    def _run(
        self, stage: StageSpec, said: RunSettings, rows: int
    ) -> tuple[int, Cost]:
        """(rows that a run leaves at most, what it costs)."""
        asked = dict(said.run)
        limit = asked.pop("limit", None)
        target = asked.pop("target", None)
        if target is not None:
            # It draws from the same rows until it has as many.
            asked["draws"] = asked.get("max_draws", RunConfig.max_draws)
        named = self.config.flow.pack(stage)
        config = RunConfig(
            teachers={},
            overrides=said.pack,
            plugins=self.config.plugins,
            tools=self._tools(Pack.load(named, said.pack)),
            **asked,
        )
        pack = load_pack(named, config)
        if limit is not None:
            rows = min(rows, int(limit))
        cost = _cost(self._plan(stage, pack, config, rows), rows)
        left = _most_rows(pack, rows)
        return left if target is None else min(left, int(target)), cost

    def _exact(self, stage: StageSpec) -> int:
        """Rows of a stage that reads nothing but what is given."""
        sources = sources_of(stage)
        if not all(source in self.given for source in sources):
            return -1
        return sum(len(self.given[source]) for source in sources)

    def _plan(
        self,
        stage: StageSpec,
        pack: Pack,
        said: RunConfig,
        rows: int,
    ) -> Plan:
        """The plan of a run over a sample of its rows, or of the pack's own where there are none
        yet.
        """
        sample = self._sample(stage, pack, rows)
        teachers = {}
        for role in pack.roles:
            who = self._who(stage, role)
            teachers[role] = self.config.teachers.get(who, "local/student")
        # A retrieve that reads rows of the flow has none yet: it is planned with those of the pack.
        config = replace(said, teachers=teachers, **self._said(stage, pack))
        named = self.config.flow.pack(stage)
        return make_plan(prepare(named, sample, _NOWHERE, config))

    def _tools(self, pack: Pack) -> dict[str, str]:
        """What the user binds to the pack's tools."""
        return bound_to(pack, self.config.tools)

    def _who(self, stage: StageSpec, role: str) -> str:
        """The role of the flow that answers; "student" where a model does."""
        one = self._now(stage.roles.get(role, role))
        return one if one in self.config.teachers else "student"

    def _said(self, stage: StageSpec, pack: Pack) -> JsonObject:
        """Prices and limits of the roles."""
        said: JsonObject = {}
        for option in ("price", "rpm", "tpm"):
            given = by_role(self.config.run.get(option))
            said[option] = {}
            for role in pack.roles:
                who = self._who(stage, role)
                value = for_role(given, who)
                if value and who in self.config.teachers:
                    said[option][role] = value
        return said

    def _sample(
        self, stage: StageSpec, pack: Pack, rows: int
    ) -> list[JsonObject]:
        sources = sources_of(stage)
        if all(source in self.given for source in sources):
            known = [row for source in sources for row in self.given[source]]
            return known[:_SAMPLE]
        count = max(1, min(rows, _SAMPLE))
        examples = list(_cases(pack))
        if not examples:
            # Rows that the user gives often pass through with the columns that a pack asks about.
            given = [row for rows in self.given.values() for row in rows]
            examples = [row for row in given if _fits(pack, row)][:_SAMPLE]
        if not examples:
            raise WrongUse(
                f"stage {stage.name}",
                f"pack {pack.name} without a case, and no row given that it could ask about",
                "an example of its inputs, to measure what it asks",
                "Add one to cases.yaml.",
            )
        return [
            {**row, "id": f"example-{number}"}
            for number, row in enumerate(islice(cycle(examples), count))
        ]


def _most_of(stage: StageSpec) -> str | None:
    """The template of how many rows a stage leaves at most; None where it has none."""
    cut = stage.select or stage.search
    return None if cut is None else cut.most


def _cases(pack: Pack) -> Iterator[JsonObject]:
    """The inputs that a pack's own cases have."""
    path = pack.folder / "cases.yaml"
    if not path.is_file():
        return
    for case in CasesSpec.model_validate(read_yaml(path)[0]).cases:
        if _fits(pack, case.inputs):
            yield dict(case.inputs)


def _fits(pack: Pack, row: Mapping[str, Any]) -> bool:
    """Whether a row has all inputs that a pack needs."""
    return all(
        name in row or spec.optional for name, spec in pack.spec.inputs.items()
    )


def _cost(plan: Plan, rows: int) -> Cost:
    """What a plan over a sample says of so many rows."""
    told = plan.summary()
    factor = rows / max(1, plan.rows)
    usd = told["usd"]
    return Cost(
        round(told["calls"] * factor), None if usd is None else usd * factor
    )


def _most_rows(pack: Pack, rows: int) -> int:
    """Rows that a run leaves where nothing is dropped."""
    for step in pack.steps:
        rows *= 1 if step.rescues else step.draws
        rows *= LIST_LENGTH if step.spread else 1
    return rows


def describe(config: FlowConfig) -> str:
    """The plan as text.

    Raises:
        WrongUse: a folder, a model of a size or a row that the flow would refuse, too.
    """
    spec = config.flow.spec
    check_output(config.output, spec.name)
    check_sizes(config)
    planner = _Planner(config)
    lines = [f"flow {spec.name}", *planner.overlaps]
    total = Cost(0, 0.0)
    for title, stages, times in _phases(config):
        if not stages or not times:
            continue
        planner.later = title == _LATER
        told, cost = planner.stages(stages)
        again = f", {times:,} times at most" if times > 1 else ""
        lines += [f"{title}{again}:", *told]
        total = total.plus(cost.times(times))
    lines.append(f"in all: {total}")
    if config.budget is not None:
        lines.append(
            f"budget: {dollars(config.budget)}, which is never crossed"
        )
    lines.append(f"minutes: {_minutes(config)}")
    return "\n".join(lines)


def most_rounds(spec: FlowSpec) -> int:
    """How many rounds a flow has at most; 0 where it has none."""
    if spec.rounds is None:
        return 0
    return Formula(spec.rounds.most, "rounds.most").whole(spec.values, 1)


def _phases(
    config: FlowConfig,
) -> Iterator[tuple[str, Sequence[StageSpec], int]]:
    spec = config.flow.spec
    yield "once, before", spec.before, 1
    if spec.rounds is not None:
        yield "the first round", spec.rounds.stages, 1
        yield _LATER, spec.rounds.stages, most_rounds(spec) - 1
    yield "once, after", spec.after, 1


def _minutes(config: FlowConfig) -> str:
    """What the rounds that were played took; without one, nobody knows."""
    path = config.output / RECORD
    rounds = []
    if path.is_file():
        rounds = json.loads(path.read_text(encoding="utf-8"))["rounds"]
    if not rounds:
        return "not known before the first round has been played"
    seconds = 0.0
    for played in rounds:
        seconds += sum(stage["seconds"] for stage in played.values())
    mean = seconds / len(rounds) / 60
    return f"a round took {mean:.1f} (mean of {len(rounds)} played)"
