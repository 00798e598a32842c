"""What a stage of each kind does: it calls what exists already, and says what it leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import RECORD
from finetune.flows.artifacts import (
    Artifact,
    as_file,
    as_lines,
    joined,
    mark_of,
    rows_of,
)
from finetune.flows.choices import choices_of
from finetune.flows.domains import lags, shares_of
from finetune.flows.formulas import Formula
from finetune.flows.pairing import of_item
from finetune.flows.retrieving import searched
from finetune.flows.rights import SEARCHING, with_models
from finetune.flows.row_schema import NearestSpec, Scalar
from finetune.flows.run_settings import parted
from finetune.flows.schema import RETRIEVER, StageSpec
from finetune.flows.searching import nearest_rows
from finetune.flows.selecting import Select, table_of
from finetune.flows.tooling import bound_to
from finetune.flows.words import flag_of, words_of, words_of_losses
from finetune.measuring import evaluate
from finetune.measuring.choosing import choose
from finetune.measuring.evaluate_retriever import SearchConfig
from finetune.recipes.mix import by_domain, mixed
from finetune.students import load as student
from synth.core import registry
from synth.core.errors import NothingKept, Unfinished, WrongUse
from synth.core.records import Values
from synth.exports.base import pack_of, write_rows
from synth.inputs.seeds import write_jsonl
from synth.local_models.scores import HASHING
from synth.packs.choice_schema import RetrieveSpec
from synth.packs.pack import Pack
from synth.packs.shelf import Shelf
from synth.pipeline.filter_file import sieve
from synth.pipeline.run import make
from synth.runs.ledger import left_for, runs_in
from synth.runs.pairing import over
from synth.runs.publisher import RunFolder
from synth.teachers.wire.access import by_role, for_role

# Trains by a command of `finetune`: its words, as they would be typed.
Train = Callable[[Sequence[str]], None]
# Settings of a run that users give alone or by role of the flow.
BY_ROLE = (
    "api_base",
    "endpoints",
    "api_key_env",
    "header",
    "price",
    "rpm",
    "tpm",
)
# Commands that go on from their last checkpoint.
RESUMABLE = ("sft", "distill", "dpo", "kto", "cpo", "orpo", "grpo")
_FILES = "files"


class NoRows(NothingKept):
    """A stage that has nothing to read."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """All that a stage needs to be played.

    Attributes:
        stage: what flow.yaml says of it.
        where: its name with the round, for messages.
        source: the rows of `from`, one after the other.
        inputs: what its other references lead to, by the reference's name.
        teachers: role of the flow -> PROVIDER/MODEL.
        settings: its `set`, templates rendered and the user's own included.
        values: what templates see.
        folder: where it leaves what it makes.
        output: the flow's folder.
        pack: of `run`, and of a `select` that writes prompts: the pack, or its folder.
        budget: dollars for all runs of the flow.
        run: settings of runs, as `synth.run` takes them, roles being the flow's.
        tools: what the user binds to tools of packs, by their name.
        plugins: modules that the user allows.
        train: command -> what runs it.
    """

    stage: StageSpec
    where: str
    source: Sequence[Artifact]
    inputs: Mapping[str, Artifact]
    teachers: Mapping[str, str]
    settings: Mapping[str, Scalar]
    values: Values
    folder: Path
    output: Path
    pack: str | Path
    budget: float | None
    run: Mapping[str, Any]
    tools: Mapping[str, str]
    plugins: tuple[str, ...]
    train: Mapping[str, Train]

    @property
    def files(self) -> Path:
        """For rows that are joined."""
        return self.output / _FILES

    def rows(self) -> Iterator[JsonObject]:
        """All rows of `from`."""
        for artifact in self.source:
            yield from rows_of(artifact)

    def file(self) -> str:
        """The rows of `from` as one path.

        Raises:
            NoRows: there are none.
        """
        for _ in self.rows():
            return as_file(joined(self.source, self.files), self.files)
        raise self.no_rows()

    def no_rows(self) -> NoRows:
        """What is said where there are none."""
        return NoRows(f"{self.where}: no rows to read")

    def model(self) -> str:
        """The student."""
        return self.inputs["student"].where


class Left(NamedTuple):
    """What a stage leaves: rows by name as (path, part of a run's folder), a model's folder,
    measures, and what is told of it.
    """

    rows: Mapping[str, tuple[Path, str]]
    model: Path | None = None
    measures: Mapping[str, float] = MappingProxyType({})
    facts: JsonObject | None = None


def play(desk: Desk) -> Left:
    """Plays a stage into its folder.

    Raises:
        Unfinished: a run that stopped, or of which calls failed.
        NothingKept: a run that kept nothing, or a stage without rows to read.
        WrongUse: what the stage is given cannot be used.
    """
    return _PLAYS[desk.stage.kind](desk)


def _run(desk: Desk) -> Left:
    overrides = _overrides(desk)
    pack = Pack.load(desk.pack, overrides)
    tools = bound_to(pack, desk.tools)
    asked = pack.with_tools(tools, desk.plugins).roles
    teachers, options = _asked(desk, asked)
    others = [
        str(folder) for folder in runs_in(desk.output) if folder != desk.folder
    ]
    done = make(
        desk.pack,
        desk.file(),
        teacher=teachers,
        output=desk.folder,
        overrides=overrides,
        reuse=others,
        budget=left_for(desk.folder, desk.output, desk.budget),
        same_teacher=True,
        tools=tools,
        plugins=desk.plugins if tools else (),
        **options,
    )
    counts = done.counts
    if done.exit_code == NothingKept.exit_code:
        why = done.info["nothing_kept"]
        raise NothingKept(f"{desk.where}: no row was kept: {why}")
    if done.stopped or done.exit_code:
        failed = sum(counts["failed"].values())
        why = done.stopped or f"{failed:,} calls failed"
        raise Unfinished(
            f"{desk.where}: {why}; the same command goes on from here",
            done.exit_code,
        )
    return Left(
        {"kept": (desk.folder, "data"), "dropped": (desk.folder, "dropped")},
        measures={"kept_share": counts["kept"] / max(1, counts["asked"])},
        facts={
            "asked": counts["asked"],
            "kept": counts["kept"],
            "dropped": counts["dropped"],
            "calls": done.info["calls"]["asked"],
            "usd": done.info["cost"]["usd"],
        },
    )


def _overrides(desk: Desk) -> dict[str, Any]:
    """What is said of the pack: settings of its steps, and the rows that it looks things up in."""
    overrides = parted(desk.settings).pack
    shelf = desk.inputs.get("retrieve")
    if shelf is None:
        return overrides
    file = as_lines(shelf, desk.files)
    for block, spec in Pack.load(desk.pack).spec.retrieves.items():
        if not (spec.of or spec.pool):
            overrides[f"{block}.file"] = file
    return overrides


def _asked(
    desk: Desk, roles: set[str]
) -> tuple[dict[str, str], dict[str, Any]]:
    """(role of the pack -> who answers, settings of the run)."""
    teachers: dict[str, str] = {}
    of_roles: dict[str, dict[str, Any]] = {name: {} for name in BY_ROLE}
    options = {
        name: value
        for name, value in desk.run.items()
        if name not in BY_ROLE and value is not None
    }
    for role in sorted(roles):
        chosen = desk.inputs.get(f"role {role}")
        if chosen is not None and chosen.kind == "model":
            teachers[role] = f"local/{chosen.where}"
            continue
        name = chosen.where if chosen is not None else role
        teachers[role] = desk.teachers[name]
        for option, said in of_roles.items():
            value = for_role(by_role(desk.run.get(option)), name)
            if value is not None:
                said[role] = value
    options |= {name: said for name, said in of_roles.items() if said}
    return teachers, options | parted(desk.settings).run


def _filter(desk: Desk) -> Left:
    kept = desk.folder / "kept.jsonl"
    models = {name: desk.inputs[name].where for name in desk.stage.models}
    counts = sieve(
        desk.file(),
        kept,
        with_models(desk.stage.filter or [], models, desk.where),
        parser=desk.stage.parser,
        group=desk.stage.group,
    )
    dropped = desk.folder / "kept.dropped.jsonl"
    share = counts["kept"] / max(1, counts["asked"])
    return Left(
        {"kept": (kept, ""), "dropped": (dropped, "")},
        measures={"kept_share": share},
        facts=counts,
    )


def _export(desk: Desk) -> Left:
    spec = registry.parse_spec(str(desk.stage.export), desk.where)
    spec |= {
        name: artifact.where
        for name, artifact in desk.inputs.items()
        if name == "other" or name in desk.stage.models
    }
    source = desk.source[0]
    folder = RunFolder(source.where)
    maker = registry.build("synth.exports", spec, desk.where, ())
    path = desk.folder / "rows.jsonl"
    count = write_rows(maker.rows(folder, pack_of(folder)), path)
    return _rows(path, count)


def _rows(path: Path, count: int) -> Left:
    return Left(
        {"rows": (path, "")},
        measures={"count": count},
        facts={"rows": count},
    )


def _train(desk: Desk) -> Left:
    command = str(desk.stage.train)
    words = [
        *("--data", desk.file()),
        *("--model", desk.model()),
        *("--output", str(desk.folder)),
    ]
    for name in desk.stage.models:
        words += [f"--{flag_of(name)}", desk.inputs[name].where]
    words += words_of_losses(desk.stage)
    words += _going_on(desk)
    if command in RESUMABLE:
        words.append("--resume")
    for key, value in {"disable_tqdm": True, **desk.settings}.items():
        words += words_of(key, value)
    desk.train[command](words)
    # A student that is whole needs none.
    shutil.rmtree(desk.folder / "checkpoints", ignore_errors=True)
    info = json.loads((desk.folder / RECORD).read_text(encoding="utf-8"))
    loss = info.get("loss")
    return Left(
        {},
        model=desk.folder,
        measures={"loss": loss} if isinstance(loss, int | float) else {},
        facts={
            name: info[name]
            for name in ("rows", "steps", "loss")
            if name in info
        },
    )


def _going_on(desk: Desk) -> list[str]:
    """Has the optimizer of a stage before go on, and kept for the next."""
    before = desk.inputs.get("optimizer")
    if before is None:
        return []
    words = ["--keep-optimizer"]
    if Path(before.where).is_relative_to(desk.output):
        words += ["--optimizer-of", before.where]
    return words


def _evaluate(desk: Desk) -> Left:
    if desk.stage.evaluate == RETRIEVER:
        return _searched(desk)
    before = desk.inputs.get("before")
    config = evaluate.EvaluateConfig(
        data=desk.file(),
        model=desk.model(),
        output=desk.folder,
        parser=str(desk.stage.evaluate),
        before=before.where if before else None,
        measures=desk.stage.measures,
        **_of(evaluate.EvaluateConfig, desk),
    )
    _draw_alike(desk)
    info = evaluate.run(config)
    given = list(desk.rows())[: config.limit]
    judged = rows.load(desk.folder / "predictions.jsonl")
    answered = [
        # What was answered, beside what the row says already.
        {**given[place // config.draws], **prediction}
        for place, prediction in enumerate(map(dict, judged))
    ]
    left = {}
    for name, wanted in (("rows", None), ("right", True), ("wrong", False)):
        path = desk.folder / f"{name}.jsonl"
        write_jsonl(
            path,
            (row for row in answered if wanted in (None, row["right"])),
        )
        left[name] = (path, "")
    exact_match = info["exact_match"]
    measures = {
        "exact_match": exact_match["share"],
        "unreadable": info["unreadable"],
    }
    facts = {"rows": info["rows"], "exact_match": exact_match}
    for measure, found in info["measures"].items():
        # A measure of which no question counts is none.
        if found["value"] is not None:
            name = measure.partition(":")[0]
            measures[name] = facts[name] = found["value"]
    return Left(left, measures=measures, facts=facts)


def _searched(desk: Desk) -> Left:
    corpus = desk.inputs.get("corpus")
    found = searched(
        desk.file(),
        desk.model(),
        None if corpus is None else as_file(corpus, desk.files),
        settings=_of(SearchConfig, desk, named=SEARCHING),
        folder=desk.folder,
    )
    return Left({"rows": (found.rows, "")}, None, found.measures, found.facts)


def _of(
    kind: type[Any], desk: Desk, *, named: Iterable[str] = ()
) -> dict[str, Any]:
    """Settings of a stage as fields of a config.

    Args:
        kind: the config's class.
        desk: the stage's.
        named: fields that are offered instead of one that is none; all of them where none is named.

    Raises:
        WrongUse: a field that it does not have.
    """
    known = set(kind.__dataclass_fields__)
    for key in desk.settings:
        if key not in known:
            raise WrongUse(
                f"--set {desk.stage.name}.{key}",
                "no such setting",
                ", ".join(sorted(named or known)),
                "Correct the name.",
            )
    return dict(desk.settings)


def _answer(desk: Desk) -> Left:
    formula = Formula(str(desk.stage.answer), f"{desk.where} answer")
    given = list(desk.rows())
    if not given:
        raise desk.no_rows()
    if desk.stage.choices is not None:
        return _choose(desk, formula, given)
    model, tokenizer = student.load_student(desk.model())
    config = evaluate.EvaluateConfig(
        data="",
        model=desk.model(),
        output=desk.folder,
        **{"temperature": 0.0, **_of(evaluate.EvaluateConfig, desk)},
    )
    asked = [row for row in given for _ in range(config.draws)]
    prompts = [formula.text({**desk.values, "row": row}) for row in asked]
    if config.temperature > 0:
        _draw_alike(desk)
        # Several draws are what makes `generate` draw.
        config = replace(config, draws=max(2, config.draws))
    replies = evaluate.generate(model, tokenizer, prompts, config)
    path = desk.folder / "rows.jsonl"
    count = write_jsonl(
        path,
        (
            {**row, "reply": reply.strip()}
            for row, reply in zip(asked, replies, strict=True)
        ),
    )
    return _rows(path, count)


def _choose(desk: Desk, formula: Formula, given: Sequence[JsonObject]) -> Left:
    """The student's answers where it chooses between texts."""
    choices = choices_of(
        given,
        str(desk.stage.choices),
        desk.values,
        f"{desk.where} choices",
    )
    prompts = [formula.text({**desk.values, "row": row}) for row in given]
    made = choose(desk.model(), prompts, choices)
    path = desk.folder / "rows.jsonl"
    count = write_jsonl(
        path,
        (
            {
                **row,
                "reply": choice.text,
                "shares": choice.shares,
                "margin": choice.margin,
            }
            for row, choice in zip(given, made, strict=True)
        ),
    )
    return _rows(path, count)


def _draw_alike(desk: Desk) -> None:
    """What a student draws is the same each time that a stage is played in a round. The student's
    own mark says nothing here: it holds when the weights were written.
    """
    import torch  # noqa: PLC0415 - seconds, for those who answer

    torch.manual_seed(int(mark_of(desk.where), 16) % (1 << 32))


def _select(desk: Desk) -> Left:
    spec = desk.stage.select
    assert spec is not None  # noqa: S101 - the kind of the stage
    pack = Pack.load(desk.pack) if desk.pack else None
    select = Select(spec, f"{desk.where} select", pack)
    joins = {
        name: table_of(rows_of(desk.inputs[f"join {name}"]), join.by)
        for name, join in desk.stage.join.items()
    }
    on = {name: join.by for name, join in desk.stage.join.items()}
    path = desk.folder / "rows.jsonl"
    shelves = {
        name: _shelf(near, desk.inputs[f"near {name}"], desk.files)
        for name, near in desk.stage.nearest.items()
    }
    numbers = {
        name: float(desk.inputs[f"number {name}"].where)
        for name in desk.stage.numbers
    }
    values = {**desk.values, **numbers}
    made = select.apply(desk.rows(), joins, on, values, shelves)
    return _rows(path, write_jsonl(path, made))


def _shelf(near: NearestSpec, artifact: Artifact, folder: Path) -> Shelf:
    """Rows of the flow that are searched."""
    spec = RetrieveSpec(
        file=as_lines(artifact, folder),
        query=near.query,
        field=near.field,
        show=near.show,
        most=near.most,
    )
    return Shelf(spec, None)


def _mix(desk: Desk) -> Left:
    shares = desk.stage.mix or {}
    sources = [list(rows_of(artifact)) for artifact in desk.source]
    made = mixed(sources, list(shares.values()), key=desk.stage.key)
    path = desk.folder / "rows.jsonl"
    return _rows(path, write_jsonl(path, made))


def _pair(desk: Desk) -> Left:
    column = str(desk.stage.pair)
    per = Formula(desk.stage.per, f"{desk.where} per").whole(desk.values, 1)
    better = (of_item(row, column, desk.where) for row in desk.rows())
    worse = (
        of_item(row, column, desk.where)
        for row in rows_of(desk.inputs["other"])
    )
    made = over(
        better,
        worse,
        per_seed=per,
        order=desk.stage.order,
        most_alike=desk.stage.most_alike,
    )
    path = desk.folder / "rows.jsonl"
    return _rows(path, write_jsonl(path, made))


def _search(desk: Desk) -> Left:
    spec = desk.stage.search
    assert spec is not None  # noqa: S101 - the kind of the stage
    encoder = desk.inputs.get("embedding")
    made = nearest_rows(
        desk.rows(),
        list(rows_of(desk.inputs["other"])),
        spec,
        HASHING if encoder is None else encoder.where,
        desk.where,
    )
    if spec.most is not None:
        formula = Formula(spec.most, f"{desk.where} most")
        made = made[: formula.whole(desk.values)]
    path = desk.folder / "rows.jsonl"
    return _rows(path, write_jsonl(path, made))


def _domains(desk: Desk) -> Left:
    known = desk.inputs.get("other")
    made, gap = lags(
        list(desk.rows()),
        str(desk.stage.domains),
        (desk.model(), desk.inputs["teacher"].where),
        known=None if known is None else list(rows_of(known)),
        smoothing=float(desk.settings.get("smoothing", 0.5)),
        where=desk.where,
    )
    path = desk.folder / "rows.jsonl"
    write_jsonl(path, made)
    shares = {row["domain"]: round(row["share"], 3) for row in made}
    return Left(
        {"rows": (path, "")},
        measures={"gap": gap},
        facts={"gap": gap, "shares": shares},
    )


def _apportion(desk: Desk) -> Left:
    made = by_domain(
        list(desk.rows()),
        str(desk.stage.apportion),
        shares_of(list(rows_of(desk.inputs["other"])), desk.where),
        Formula(desk.stage.count, f"{desk.where} count").whole(desk.values, 1),
        key=str(desk.values["round"]),
    )
    path = desk.folder / "rows.jsonl"
    return _rows(path, write_jsonl(path, made))


_PLAYS: Mapping[str, Callable[[Desk], Left]] = {
    "run": _run,
    "filter": _filter,
    "export": _export,
    "train": _train,
    "evaluate": _evaluate,
    "answer": _answer,
    "select": _select,
    "mix": _mix,
    "pair": _pair,
    "search": _search,
    "domains": _domains,
    "apportion": _apportion,
}
