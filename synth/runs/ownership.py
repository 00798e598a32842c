"""Whose folder an output is: what a run may write into, and what it may replace there.

A run notes what it is in `journal/opened.json` before its first call. A folder without such a note,
and without a run.json, is somebody else's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import orjson

from synth.calls.journal import records
from synth.core.errors import WrongUse
from synth.core.records import Fields, Seed

# Version of the folder: of what run.json and the files beside it mean.
FORMAT = 2
NOTE = "opened.json"
# What a journal holds without a reply; a batch that is under way has files of its own.
_BARE = {"lock", NOTE, "replies.log"}
# Ids of the first seeds, which tell a run that was never published from one over other inputs.
NOTED_SEEDS = 1000
# Names of the files that hold rows, under data/ and dropped/.
ROWS = re.compile(r"train-\d{5}\.parquet")
# What a run itself keeps hidden in its folder.
_HIDDEN = re.compile(r"\.unpublished|\.old-.*")


@dataclass(frozen=True)
class Opened:
    """What a folder's run is.

    Attributes:
        pack: its pack's name.
        where: its input.
        seeds: ids of its first seeds.
        pack_files: path -> sha256 of its copy of the pack; None where an earlier version did not
            say.
        endpoints: teacher's name as it stands in keys -> where it was asked; [""] where the name
            says all.
    """

    pack: str
    where: str
    seeds: frozenset[str]
    pack_files: Mapping[str, str] | None = None
    endpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)


def check_endpoints(
    folders: Iterable[Path], endpoints: Mapping[str, str]
) -> None:
    """Checks that replies which may be reused came from where the run would ask.

    Keys hold a model's name and no URL: servers come and go. Two servers may give one name to two
    models.

    Args:
        folders: the run's own and those of `--reuse`.
        endpoints: FAMILY/MODEL -> the endpoint that the run asks.

    Raises:
        WrongUse: a folder with replies of the same model name from another endpoint; names both.
    """
    for folder in folders:
        opened = read_note(folder)
        asked = opened.endpoints if opened and _has_replies(folder) else {}
        for name, endpoint in endpoints.items():
            noted = asked.get(name, [])
            # A name that says all, and a fleet of servers, have none.
            earlier = [url for url in noted if url]
            if endpoint and earlier and endpoint not in earlier:
                got = f"replies of {name} from {', '.join(earlier)}"
                todo = (
                    "Give another --output or leave --reuse out; where both are one teacher, "
                    "say --same-teacher."
                )
                raise WrongUse(
                    str(folder),
                    got,
                    f"replies from {endpoint}",
                    todo,
                )


def _has_replies(folder: Path) -> bool:
    """Whether a reply stands in a folder's journal, or may be under way to it.

    A run whose address was mistyped brings none.
    """
    journal = folder / "journal"
    try:
        names = {entry.name for entry in journal.iterdir()}
        is_bare = names <= _BARE and not (folder / "shards").exists()
        return not is_bare or next(records(journal), None) is not None
    except OSError:
        return True


def check_output(
    folder: Path,
    pack: str,
    pack_folder: Path,
    where: str,
    seeds: Iterable[Seed],
    *,
    replace: bool = False,
) -> None:
    """Checks that a run may write into a folder; writes nothing.

    Args:
        folder: may be missing or empty.
        pack: the name of the run's pack.
        pack_folder: where the pack lies; a run may be made from the very copy in its folder.
        where: the run's input, as people know it.
        seeds: the run's seeds; they are read until one is found that the folder knows.
        replace: whether a run of another pack or of other inputs may be replaced. Its replies stay
            in the journal.

    Raises:
        WrongUse: somebody else's folder, another run's folder, or files in it that no run wrote.
    """
    if folder.exists() and not folder.is_dir():
        raise WrongUse(
            str(folder),
            "a file",
            "a folder to write the run into",
            "Give another --output.",
        )
    if not folder.is_dir() or not _contents(folder):
        return
    opened = read_note(folder)
    if opened is None and (
        (folder / "journal" / "replies.log").is_file() or _barely_begun(folder)
    ):
        return  # an earlier version's run, or one that the machine ended before it could say more
    if opened is None:
        got = f"a folder that is no run's, with {_listed(_contents(folder))}"
        raise WrongUse(
            str(folder),
            got,
            "an empty folder, or one that `synth run` wrote",
            "Give another --output.",
        )
    own_copy = pack_folder.resolve() == (folder / "pack").resolve()
    strangers = [
        *_odd_rows(folder),
        *(
            []
            if own_copy
            else _changed_pack(folder / "pack", opened, pack_folder)
        ),
    ]
    if strangers:
        got = f"{_listed(strangers)}, which this run did not write or which somebody changed"
        raise WrongUse(
            str(folder),
            got,
            "only this run's files where rows and pack are replaced",
            "Move it elsewhere first.",
        )
    if replace:
        return
    todo = (
        "Give another --output, or --replace: its rows are replaced, and its replies stay in "
        "the journal."
    )
    if opened.pack != pack:
        raise WrongUse(
            str(folder),
            f"a run of pack {opened.pack!r}",
            f"a run of pack {pack!r}",
            todo,
        )
    earlier_ids = opened.seeds | _published(folder)
    if earlier_ids and not any(seed.id in earlier_ids for seed in seeds):
        got = f"a run over {opened.where}, of which no row is in {where}"
        raise WrongUse(
            str(folder),
            got,
            "a run over the same inputs, or over inputs that grew",
            todo,
        )


def copied_pack(folder: Path, pack: str) -> Path | None:
    """The copy of a pack in the folder of a run that was made with it; None where there is none, or
    where somebody touched it.
    """
    opened = read_note(folder)
    if opened is None or opened.pack != pack or opened.pack_files is None:
        return None
    copy = folder / "pack"
    if copy.is_symlink() or digests(copy) != dict(opened.pack_files):
        return None
    return copy


def _barely_begun(folder: Path) -> bool:
    """Whether all that stands in a folder is what a run makes before its note is whole."""
    names = (
        {path.name for path in (folder / "journal").iterdir()}
        if (folder / "journal").is_dir()
        else {""}
    )
    return _contents(folder) == ["journal"] and names <= {
        "lock",
        f"{Path(NOTE).stem}.new",
        NOTE,
    }


def note(
    folder: Path,
    pack: str,
    where: str,
    seeds: Iterable[Seed],
    endpoints: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Says in the folder whose it is, before the first call; what an earlier run noted of its seeds
    stays, and of its endpoints where replies are there.
    """
    before = read_note(folder)
    same = before is not None and before.pack == pack and before.where == where
    earlier_ids = before.seeds if before is not None and same else frozenset()
    ids = sorted(
        {
            *islice((seed.id for seed in seeds), NOTED_SEEDS),
            *islice(sorted(earlier_ids), NOTED_SEEDS),
        }
    )
    asked = (
        {name: list(addresses) for name, addresses in before.endpoints.items()}
        if before is not None and _has_replies(folder)
        else {}
    )
    for name, endpoint in endpoints.items():
        addresses = asked.setdefault(name, [])
        if endpoint not in addresses:
            addresses.append(endpoint)
    value = {
        "format": FORMAT,
        "pack": pack,
        "input": where,
        "seeds": ids,
        "pack_files": digests(folder / "pack"),
        "endpoints": asked,
    }
    path = folder / "journal" / NOTE
    path.parent.mkdir(parents=True, exist_ok=True)
    put_json(path, value)


def put_json(path: Path, value: Fields) -> None:
    """Writes an object for the owner's eyes; it stands in its place in one move."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    aside = path.with_suffix(".new")
    with open(aside, "wb", opener=private) as file:
        file.write(orjson.dumps(value, option=option))
    os.replace(aside, path)  # noqa: PTH105 - the atomic one


def read_note(folder: Path) -> Opened | None:
    """What a folder says of its run; None where it says nothing that a run wrote. A broken note is
    none.
    """
    value = read_object(folder / "journal" / NOTE)
    if value is not None and isinstance(value.get("pack"), str):
        files = value.get("pack_files")
        noted = value.get("seeds")
        seeds = [str(seed) for seed in noted] if isinstance(noted, list) else []
        asked = value.get("endpoints")
        endpoints = (
            {
                str(name): list(map(str, addresses))
                for name, addresses in asked.items()
            }
            if isinstance(asked, dict)
            else {}
        )
        return Opened(
            value["pack"],
            str(value.get("input")),
            frozenset(seeds),
            files if isinstance(files, dict) else None,
            endpoints,
        )
    # Runs of earlier versions left run.json alone, and before their first end only the journal.
    run = read_run(folder)
    pack = run.get("pack")
    settings = run.get("settings")
    if isinstance(pack, dict) and isinstance(settings, dict):
        return Opened(
            str(pack.get("name")), str(settings.get("input")), frozenset()
        )
    return None


def read_run(folder: Path) -> Fields:
    """A folder's run.json; empty where there is none that can be read."""
    return read_object(folder / "run.json") or {}


def private(path: str, flags: int) -> int:
    """An opener of files that hold replies: nobody but their owner reads them."""
    return os.open(path, flags, 0o600)


def make_private(path: Path) -> None:
    """An empty file that only its owner reads, for writers that open by name."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def make_folder(folder: Path) -> None:
    """A folder that only its owner enters; one that is there keeps its rights."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def discard(folder: Path) -> None:
    """Removes a folder of rows that have been replaced; files in it that no run wrote stay, under
    `NAME.yours`.
    """
    for file in folder.iterdir():
        if ROWS.fullmatch(file.name) and not file.is_dir():
            file.unlink()
    try:
        folder.rmdir()
    except OSError:
        folder.rename(
            free_name(
                folder.with_name(folder.name.removeprefix(".old-") + ".yours")
            )
        )


def free_name(path: Path) -> Path:
    """The path, or the first of `NAME-2`, `NAME-3`, ... that nothing stands at."""
    number = 1
    free = path
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_of(folder: Path) -> str:
    """16 hex digits of the sha256 of all published rows."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("d*/*.parquet")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def digests(folder: Path) -> dict[str, str]:
    """Path within a folder -> sha256, for every file in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in files}


def _contents(folder: Path) -> list[str]:
    """Names in a folder that somebody put there; hidden ones are left alone anyway."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if not path.name.startswith(".") or _HIDDEN.fullmatch(path.name)
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (
        f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    )


def is_our_card(folder: Path, run: Fields) -> bool:
    """Whether a folder's README.md is the card that its run wrote, or the one that `synth card` was
    about to note when it was ended.

    Args:
        folder: the run's.
        run: its run.json.
    """
    card = folder / "README.md"
    ours = (run.get("card_sha256"), run.get("card_next"))
    return card.is_file() and digest(card) in ours


def _odd_rows(folder: Path) -> Iterator[str]:
    """Files that stand where a run replaces all rows and that no run wrote."""
    for part in ("data", "dropped"):
        path = folder / part
        files: list[Path] = []
        if path.is_symlink():
            files = [path]
        elif path.is_dir():
            files = list(path.iterdir())
        yield from (
            f"{part}/{file.name}"
            for file in files
            if file.is_symlink() or not ROWS.fullmatch(file.name)
        )


def _changed_pack(
    pack: Path, opened: Opened, pack_folder: Path
) -> Iterator[str]:
    """Files of the copied pack that are neither as the run left them nor as it will: a run may have
    ended between its copy and its note.
    """
    if pack.is_symlink():
        yield "pack"
    elif opened.pack_files is not None:
        for name, value in digests(pack).items():
            ours = pack_folder / name
            noted = opened.pack_files.get(name) == value
            if not noted and not (ours.is_file() and digest(ours) == value):
                yield f"pack/{name}"


def _published(folder: Path) -> frozenset[str]:
    """Ids of all seeds in the published rows."""
    # A tenth of a second that a plan does not need.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    seed_ids: set[str] = set()
    for file in sorted(folder.glob("d*/*.parquet")):
        try:
            seed_ids.update(
                map(str, pq.read_table(file, columns=["id"])["id"].to_pylist())
            )
        except (pa.ArrowException, OSError, KeyError):
            continue  # broken rows are written again
    failed = folder / "failed.jsonl"
    for line in failed.read_bytes().splitlines() if failed.is_file() else ():
        try:
            row = orjson.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "id" in row:
            seed_ids.add(str(row["id"]))
    return frozenset(seed_ids)


def read_object(path: Path) -> Fields | None:
    """The object of a JSON file; None where there is none that can be read.

    Raises:
        WrongUse: a newer version wrote it.
    """
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    check_format(value, path)
    return value


def check_format(value: Fields, path: Path) -> None:
    """Raises WrongUse for a record that a newer version wrote: it may hold what this one would
    lose. Those of earlier versions are read, and written anew by the same command.
    """
    number = value.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise WrongUse(
            str(path),
            f"format {number}, which a newer version wrote",
            f"format {FORMAT} or an earlier one",
            "Update potstill, or give another --output.",
        )
