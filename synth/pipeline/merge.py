"""Joins the shards of a run to what one run would have published: rows in the order of the input,
judged by the filters that see all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from synth.calls.journal import held
from synth.core.errors import NothingKept, PotstillError, WrongUse
from synth.core.records import Fields
from synth.inputs.files import is_remote
from synth.packs.pack import Pack
from synth.pipeline.finished import fingerprint_of_merge, is_as_published
from synth.pipeline.prepare import RunConfig, load_pack
from synth.pipeline.python_words import speaks_python
from synth.pipeline.run import columns_of, corpus_filters
from synth.pipeline.walker import Tally
from synth.runs.card import make_card
from synth.runs.ownership import check_output, digest, read_run
from synth.runs.publisher import Publisher, RunFolder
from synth.runs.result import EXIT_FAILED, Run
from synth.runs.shard_plan import ShardPlan, plan_file, shard_folder
from synth.runs.store_copy import places_of

# Parts of run.json that are sums over the shards.
_SUMS = ("calls", "cost", "steps", "plan", "seeds", "seconds")
# Why a shard's rows are none of this plan's.
_OLD = "run before the input changed"
_OTHER = "run with another pack"


@dataclass(frozen=True)
class _Shard:
    """A shard as it stands.

    Attributes:
        folder: its run folder.
        info: its run.json; empty where it has published nothing.
        lack: what is missing; empty where it is finished.
    """

    folder: Path
    info: Fields
    lack: str

    @property
    def ready(self) -> bool:
        """Whether its rows are some of this plan's."""
        return bool(self.info) and self.lack not in (_OTHER, _OLD)


def _shards(folder: Path, plan: ShardPlan) -> Iterator[_Shard]:
    """Every shard that has a seed."""
    for number, rows in enumerate(plan.rows):
        if not rows:
            continue
        own = shard_folder(folder, number)
        info = read_run(own)
        yield _Shard(own, info, _lack(own, info, plan, number))


def _lack(own: Path, info: Fields, plan: ShardPlan, number: int) -> str:
    if not info:
        return "not run yet"
    RunFolder(own)  # a run.json that can be read as one
    rows = plan.rows[number]
    if info["pack"]["hash"] != plan.pack_hash:
        return _OTHER
    if info.get("part") != plan.mark(number):
        return _OLD
    if info["stopped"]:
        return f"stopped: {info['stopped']}"
    if info["seeds"] != rows:
        return f"{info['seeds']:,} of {rows:,} seeds"
    return ""


@speaks_python
def merge(
    folder: str | Path,
    *,
    partial_: bool = False,
    plugins: Sequence[str] = (),
    output: str | Path | None = None,
    replace: bool = False,
) -> Run:
    """Joins the shards of a run: their rows in the order of the input, judged by the filters that
    see all rows, published as one run would have.

    Args:
        folder: the folder of all shards.
        partial_: takes what is there, although shards are missing or unfinished.
        plugins: modules of the user's that the pack names.
        output: another folder, or the URL of one in a store, into which the dataset is copied
            too.
        replace: files of another run may stand there, and are replaced.

    Shards that have not changed since they were joined are not joined again.

    Raises:
        WrongUse: no plan; a shard that is not finished; shards of several settings; rows that are
            not as many as a shard says; an output that holds files of others.

    Example:
        >>> import synth, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> rows = [{"question": f"What is {n} + 5 ?", "target": f"{n + 5}"} for n in range(9)]
        >>> how = {"teacher": "simulated/perfect", "output": folder}
        >>> _ = synth.plan_shards("cot", rows, shards=2, **how)
        >>> _ = [synth.run("cot", rows, shard=k, **how) for k in range(2)]
        >>> synth.merge(folder).counts
        {'asked': 9, 'kept': 9, 'dropped': {}, 'failed': {}}
    """
    terms = Terms(
        partial_=partial_,
        plugins=plugins,
        output=None if output is None else str(output),
        replace=replace,
    )
    return join(folder, terms)


@dataclass(frozen=True)
class Terms:
    """How shards are joined.

    Attributes:
        partial_: takes what is there, although shards are missing or unfinished.
        plugins: modules of the user's that the pack names.
        target: rows that are kept at most; with so many, no shard is missing.
        mark: the fingerprint of the whole run.
        output: another folder, or the URL of one in a store, into which the dataset is copied
            too.
        replace: files of another run may stand there, and are replaced.
    """

    partial_: bool = False
    plugins: Sequence[str] = ()
    target: int | None = None
    mark: str | None = None
    output: str | None = None
    replace: bool = False


def join(folder: str | Path, terms: Terms) -> Run:
    """As `merge`, on terms."""
    folder = Path(folder)
    plan = ShardPlan.read(folder)
    copy = None
    if terms.output is not None:
        where = _url(terms.output, folder)
        _, copy = places_of(
            where, folder, plan.folder, plan.where, replace=terms.replace
        )
    with held(folder / "journal"):
        done = _merged(folder, plan, terms)
    if copy:
        copy.send()
    return done


def _url(output: str, folder: Path) -> str:
    """Where a dataset is copied to, as a URL.

    Raises:
        WrongUse: the folder of the run itself, or one inside it.
    """
    if is_remote(output):
        return output
    path = Path(output).expanduser().resolve()
    if path.is_relative_to(folder.resolve()):
        raise WrongUse(
            f"--output {output}",
            f"a folder in {folder}, which has the dataset anyway",
            "a folder elsewhere, or the URL of one in a store",
            "Leave it out, or name another.",
        )
    return f"file://{path.as_posix()}"


def kept_rows(folder: Path) -> int:
    """Rows that the shards of the present plan have kept."""
    shards = _shards(folder, ShardPlan.read(folder))
    return _tally([shard for shard in shards if shard.ready]).kept


def _merged(folder: Path, plan: ShardPlan, terms: Terms) -> Run:
    shards = list(_shards(folder, plan))
    ready = [shard for shard in shards if shard.ready]
    tally = _tally(ready)
    is_met = terms.target is not None and tally.kept >= terms.target
    missing = [] if is_met else [shard for shard in shards if shard.lack]
    if missing and not (terms.partial_ and ready):
        raise _unfinished(missing, folder, plan)
    _check_settings(ready)
    settings = ready[0].info["settings"]
    pack = _pack_of(folder, plan, settings, terms)
    mark = None if missing else _mark(folder, pack, ready, terms)
    before = read_run(folder)
    if _is_merged(folder, before, mark):
        return Run(folder, 0, None, before)
    check_output(
        folder,
        plan.pack,
        folder / "pack",
        plan.where,
        (),
        replace=True,
    )
    columns = columns_of(pack, plan.scan(sum(plan.rows)), plan.rename)
    publisher = Publisher(folder, columns)
    folders = [shard.folder for shard in ready]
    written = publisher.add_folders(folders, terms.target)
    if terms.target is not None and tally.kept > terms.target:
        tally.dropped["over_target"] += tally.kept - terms.target
        tally.kept = terms.target
    _check_written(folder, written, tally)
    left = publisher.settle(corpus_filters(pack))
    tally.kept -= left.total()
    tally.dropped.update(left)
    if not tally.balanced():
        raise PotstillError(f"the tally does not balance: {tally.counts()}")
    info = {**_info(ready, plan, tally, missing, terms), "merged": mark}
    publisher.publish(info, partial(make_card, info))
    return Run(folder, _exit_code(tally, missing), info["stopped"], info)


def _check_written(
    folder: Path, written: tuple[int, int], tally: Tally
) -> None:
    """Raises WrongUse where the shards' files hold other rows than their run.json say."""
    if written != (tally.kept, tally.dropped.total()):
        raise WrongUse(
            str(folder),
            f"{written[0]:,} kept and {written[1]:,} dropped rows in the shards' files",
            f"{tally.kept:,} and {tally.dropped.total():,}, as their run.json say",
            "Run the shards again: they ask nothing and publish their folders anew.",
        )


def _mark(
    folder: Path, pack: Pack, ready: Sequence[_Shard], terms: Terms
) -> str | None:
    """A hash of all that decides the joined rows; None where some of it cannot be hashed."""
    infos = {shard.folder: shard.info for shard in ready}
    planned = digest(plan_file(folder))
    how = [planned, terms.target, terms.mark, *terms.plugins]
    return fingerprint_of_merge(pack, infos, how)


def _is_merged(folder: Path, info: Fields, mark: str | None) -> bool:
    """Whether a folder holds, whole, what shards with this fingerprint come to.

    Failed rows are joined again: no hash says whether somebody changed their file.
    """
    if mark is None or info.get("merged") != mark:
        return False
    counts = info["counts"]
    if counts["failed"] or not counts["kept"]:
        return False
    return is_as_published(folder, info)


def _pack_of(
    folder: Path, plan: ShardPlan, settings: Fields, terms: Terms
) -> Pack:
    """The pack with what the shards' options change in it.

    Raises:
        WrongUse: somebody changed it since it was planned.
    """
    config = RunConfig(
        teachers=settings["teachers"],
        overrides=settings["set"],
        draws=settings["draws"],
        seed=settings["seed"],
        schemas=settings["schemas"],
        plugins=terms.plugins,
    )
    pack = load_pack(folder / "pack", config)
    if pack.hash != plan.pack_hash:
        raise WrongUse(
            str(folder / "pack"),
            "another pack than was planned",
            f"the pack {plan.pack} as it was",
            "Plan again: the same `synth run` with --shards and without --shard.",
        )
    return pack


def _exit_code(tally: Tally, missing: Sequence[_Shard]) -> int:
    if tally.asked and not tally.kept:
        return NothingKept.exit_code
    return EXIT_FAILED if tally.failed or missing else 0


def _unfinished(
    missing: Sequence[_Shard], folder: Path, plan: ShardPlan
) -> WrongUse:
    some = "; ".join(
        f"{shard.folder.name} {shard.lack}" for shard in missing[:5]
    )
    more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
    return WrongUse(
        str(folder),
        f"{len(missing):,} of {plan.shards:,} shards that are not finished ({some}{more})",
        "every shard finished",
        "Run them (--shard K), or take what is there with --partial.",
    )


def _check_settings(shards: Sequence[_Shard]) -> None:
    """Raises WrongUse where two shards were made in two ways."""
    first = shards[0]
    for shard in shards[1:]:
        for name in ("teachers", "set", "draws", "seed", "schemas", "taint"):
            here = shard.info["settings"].get(name)
            there = first.info["settings"].get(name)
            if here != there:
                raise WrongUse(
                    str(shard.folder),
                    f"{name} {here!r}",
                    f"{there!r}, as {first.folder.name} has it",
                    "Run the one that is wrong again, with the options of the others.",
                )


def _tally(shards: Sequence[_Shard]) -> Tally:
    tally = Tally()
    for shard in shards:
        tally.join(tally_of(shard.info))
    return tally


def tally_of(info: Fields) -> Tally:
    """What a run.json says."""
    counts = info["counts"]
    return Tally(
        info["seeds"],
        counts["asked"],
        counts["kept"],
        Counter(counts["dropped"]),
        Counter(counts["failed"]),
    )


def _info(
    shards: Sequence[_Shard],
    plan: ShardPlan,
    tally: Tally,
    missing: Sequence[_Shard],
    terms: Terms,
) -> Fields:
    """run.json of the whole: the first shard's settings, the sums of all."""
    infos = [shard.info for shard in shards]
    first = infos[0]
    settings = {
        **first["settings"],
        "rows": sum(plan.rows),
        "shards": plan.shards,
        "shard": None,
        "target": terms.target,
        "budget": _total([info["settings"]["budget"] for info in infos]),
    }
    stopped = None
    if missing:
        stopped = f"{len(missing):,} of {plan.shards:,} shards are not finished"
    adapted: Fields = {}
    for info in infos:
        adapted.update(info["adapted"])
    sums = {}
    for name in _SUMS:
        sums[name] = _total([info[name] for info in infos])
    return {
        **first,
        **sums,
        "settings": settings,
        "fingerprint": terms.mark,
        "complete": not missing,
        "stopped": stopped,
        "nothing_kept": first["nothing_kept"] if not tally.kept else None,
        "counts": tally.counts(),
        "judged": _total([info.get("judged", {}) for info in infos]),
        "canaries": next((i["canaries"] for i in infos if i["canaries"]), {}),
        "adapted": adapted,
    }


def _total(values: Sequence[Any]) -> Any:
    """The sum of numbers, or of mappings of numbers; None where one is unknown."""
    if any(value is None for value in values):
        return None
    if not isinstance(values[0], Mapping):
        return round(sum(values), 6)
    by_name: dict[str, list[Any]] = {}
    for value in values:
        for name, inner in value.items():
            by_name.setdefault(name, []).append(inner)
    return {name: _total(inner) for name, inner in by_name.items()}
