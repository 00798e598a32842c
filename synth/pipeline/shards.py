"""A run in shards: planned once, run in parts by any number of processes.

A shard is an ordinary run folder under `DIR/shards`. Its rows have one column more: the place of
their seed in the whole input. Filters that see all rows wait until the shards are joined.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from synth.calls.journal import held
from synth.core.errors import WrongUse
from synth.core.records import Fields, Row, canonical_json
from synth.inputs.parts import (
    POSITION,
    Part,
    PartSeeds,
    part_file,
    write_parts,
)
from synth.inputs.seeds import Seeds
from synth.packs import files as pack_files
from synth.pipeline.finished import fingerprint, is_unchanged
from synth.pipeline.prepare import (
    Prepared,
    RunConfig,
    check,
    checked,
    load_pack,
    pack_of_run,
    prepare,
)
from synth.runs.ownership import digest, make_folder, note
from synth.runs.shard_plan import (
    ShardPlan,
    is_planned,
    seeds_folder,
    shard_folder,
)

# Each is a folder of five digits, with a journal of its own.
MOST_SHARDS = 100_000


def write_plan(
    pack: str | Path,
    seeds: str | Path | Iterable[Row],
    output: Path,
    config: RunConfig,
    command: Sequence[str] = (),
    *,
    together: bool = False,
) -> ShardPlan:
    """Reads and checks the whole input once and writes each seed into its shard; asks nobody.

    Args:
        pack: a built-in name or a folder; its copy in the folder serves every shard.
        seeds: as `run` takes them.
        output: the folder of all shards. Planned again over an input that grew, every seed stays
            in its shard.
        config: its `shards` says how many.
        command: words of the command line, for scripts that start the shards.
        together: whether one bank counts the rows of all shards, so that there may be a target.

    Raises:
        WrongUse: as `prepare`; a target; another number of shards than before.
    """
    shards = config.shards or 1
    if not together:
        _check_target(config)
    _check_planned(output, shards)
    given = pack
    pack, _ = pack_of_run(pack, output, config)
    loaded, stream, scan = check(pack, seeds, config)
    checked(loaded, stream, scan, output, config)
    make_folder(output)
    with held(output / "journal"):
        pack_files.copy(loaded.folder, output / "pack")
        note(output, loaded.spec.name, stream.where, stream)
        written = _write_seeds(stream, output, shards)
        plan = ShardPlan(
            pack=loaded.spec.name,
            pack_hash=loaded.hash,
            where=stream.where,
            rows=tuple(part.rows for part in written),
            contents=tuple(part.sha256 for part in written),
            kinds=scan.kinds,
            rename=stream.rename,
            folder=_name_of(given),
            teachers=dict(config.teachers),
            budget=config.budget,
            settings=_deciding(config),
            command=tuple(command),
            place=str(Path.cwd()),
        )
        plan.write(output)
    return plan


def _write_seeds(stream: Seeds, output: Path, shards: int) -> list[Part]:
    """Puts the seeds of all shards in place of those of an earlier plan."""
    fresh = seeds_folder(output).with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    written = write_parts(stream, fresh, shards)
    shutil.rmtree(seeds_folder(output), ignore_errors=True)
    fresh.rename(seeds_folder(output))
    return written


def _check_target(config: RunConfig) -> None:
    """Raises WrongUse where a number of kept rows is wanted."""
    if config.target is not None:
        raise WrongUse(
            "--target, --shards",
            "both",
            "one of them",
            "A shard cannot know how many rows the others keep: leave --target out.",
        )


def _check_planned(output: Path, shards: int) -> None:
    """Raises WrongUse where there would be too many folders, or where a folder's rows would be paid
    twice: they are shared out in another way, or they are those of one run.
    """
    if shards > MOST_SHARDS:
        raise WrongUse(
            f"--shards {shards}",
            "more folders than a file system can hold well",
            f"at most {MOST_SHARDS:,}",
            "Some times as many as there are processes at a time are enough.",
        )
    if is_planned(output):
        before = ShardPlan.read(output).shards
        if before != shards:
            raise WrongUse(
                f"--shards {shards}",
                f"{output}, which is planned in {before} shards",
                f"--shards {before}",
                "Another number moves seeds to shards that have not paid for them.",
            )
        return
    replies = output / "journal" / "replies.log"
    if replies.is_file() and replies.stat().st_size:
        raise WrongUse(
            f"--shards {shards}",
            f"{output}, which holds the replies of one run",
            "a folder that is empty or planned in shards",
            f"Give another --output, and --reuse {output}: its replies serve the shards.",
        )


def prepare_run(
    pack: str | Path,
    seeds: str | Path | Iterable[Row],
    output: Path,
    config: RunConfig,
) -> Prepared:
    """A run, or the one shard of it that the settings name, checked; makes no call, and reads no
    row where it is finished and nothing has changed.

    Raises:
        WrongUse: the first thing that is wrong.
    """
    if config.shard is None:
        return prepare(pack, seeds, output, config, may_stand=True)
    return prepare_shard(pack, output, config)


def prepare_shard(
    pack: str | Path, output: Path, config: RunConfig
) -> Prepared:
    """One shard of a planned run, checked; makes no call.

    Args:
        pack: the pack's name or folder, as it was planned.
        output: the folder of all shards.
        config: its `shard` says which; its budget is that of all shards, of which this one has the
            share of its seeds.

    Raises:
        WrongUse: no plan, no such shard, or options that make another pack than was planned.
    """
    _check_target(config)
    plan = ShardPlan.read(output)
    shard = config.shard or 0
    if shard >= plan.shards:
        raise WrongUse(
            f"--shard {shard}",
            f"a run in {plan.shards} shards",
            f"a number from 0 to {plan.shards - 1}",
            "Shards are counted from 0.",
        )
    if config.shards not in (None, plan.shards):
        raise WrongUse(
            f"--shards {config.shards}",
            f"a run in {plan.shards} shards",
            f"--shards {plan.shards}",
            "Leave --shards out.",
        )
    _check_settings(plan, config)
    loaded = load_pack(output / "pack", config)
    if loaded.hash != plan.pack_hash or _name_of(pack) != plan.folder:
        raise WrongUse(
            f"--shard {shard}",
            f"pack {pack} with these options",
            f"pack {plan.pack} as it was planned",
            "Give the options of the plan, or plan again: the same command without --shard.",
        )
    if config.budget is not None:
        share = plan.rows[shard] / sum(plan.rows)
        config = replace(config, budget=config.budget * share)
    file = part_file(seeds_folder(output), shard)
    if not file.is_file() or digest(file) != plan.contents[shard]:
        raise WrongUse(
            str(file),
            "seeds that are not those of the plan",
            "what `synth run --shards` wrote",
            "Plan again: the same command without --shard.",
        )
    seeds = PartSeeds(file, plan.where, plan.rename)
    scan = plan.scan(plan.rows[shard])
    scan = replace(scan, kinds={**scan.kinds, POSITION: frozenset({int})})
    prepared = checked(loaded, seeds, scan, shard_folder(output, shard), config)
    part = plan.mark(shard)
    mark = fingerprint(loaded, seeds, config.values, part)
    return replace(
        prepared,
        part=part,
        critic_rows=sum(plan.rows) if shard == plan.first else 0,
        mark=mark,
        unchanged=is_unchanged(prepared.output, mark),
    )


def _deciding(config: RunConfig) -> Fields:
    """Option -> what it says, of the options that decide what is asked beside the teachers."""
    by_key = {f"--set {key}": config.overrides[key] for key in config.overrides}
    return {
        "--draws": config.draws,
        "--seed": config.seed,
        "--schemas": config.schemas,
        "--tool": dict(config.tools) or None,
        **by_key,
    }


def _check_settings(plan: ShardPlan, config: RunConfig) -> None:
    """Raises WrongUse where a shard would be paid to another teacher, beyond the cap of all, or for
    other questions.
    """
    here: Fields = {"--teacher": config.teachers, "--budget": config.budget}
    there: Fields = {"--teacher": plan.teachers, "--budget": plan.budget}
    if plan.settings:
        here.update(_deciding(config))
        there.update(plan.settings)
    for option in {**there, **here}:
        if _said(here, option) != _said(there, option):
            raise WrongUse(
                option,
                _said(here, option),
                f"{_said(there, option)}, as it was planned",
                "Give what the plan has, or plan again with the other: the same command without "
                "--shard.",
            )


def _said(options: Fields, option: str) -> str:
    """What an option says, as it is compared and shown."""
    value = options.get(option)
    return "nothing" if value is None else canonical_json(value).decode()


def _name_of(pack: str | Path) -> str:
    """A built-in pack's name, or the last part of a folder's path."""
    return Path(pack).resolve().name
