"""Whether a run is finished and nothing has changed since: then its folder is the answer, and no
row is read.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from synth.core.records import Fields, canonical_json
from synth.inputs.files import ending_of, is_remote
from synth.inputs.parts import PartSeeds
from synth.inputs.readers import READERS, split_of
from synth.inputs.seeds import Seeds
from synth.packs.pack import Pack
from synth.runs.ownership import (
    content_of,
    digest,
    digests,
    is_our_card,
    read_note,
    read_run,
)

# How fast and how patiently a run asks changes none of its rows.
_NO_MATTER = frozenset(
    {"concurrency", "rpm", "tpm", "timeout", "patience", "budget", "price"}
    | {"strict_terms", "trace", "report_to"},
)
# What such teachers say depends on files.
OF_FILES = ("local/", "replay/", "rehearsed/")
_PATH_SIGNS = frozenset("/\\+*?[")
_ROOT = Path(__file__).parent.parent


def fingerprint(
    pack: Pack, source: Any, settings: Mapping[str, Any], part: str = ""
) -> str | None:
    """A hash of all that decides a run's rows; None where some of it cannot be hashed.

    Args:
        pack: the pack with everything that options change in it.
        source: the input, as `run` takes it, or the seeds of a shard.
        settings: the fields of the run's RunConfig.
        part: of a shard, the mark of its plan.
    """
    files = _input_files(source)
    if (
        files is None
        or settings["plugins"]
        or settings["mcp"]
        or not _is_built_in(pack)
    ):
        return None
    if any(step.images for step in pack.steps):
        return None
    if any(map(_is_of_files, settings["teachers"].values())):
        return None
    deciding = {
        name: value
        for name, value in settings.items()
        if name not in _NO_MATTER
    }
    where = source.where if isinstance(source, Seeds) else str(source)
    texts = list(_texts([pack.spec.model_dump(), settings["overrides"]]))
    named = [Path(text).expanduser() for text in texts if _is_there(text)]
    if any(path.is_dir() for path in named):
        return None
    if _may_read_files(pack, settings["overrides"]):
        return None
    parts = [_code(), _packages(), pack.hash, part, *_asked_packs(pack)]
    parts += map(digest, files)
    parts += map(digest, named)
    sha256 = hashlib.sha256(canonical_json([where, deciding]))
    for text in parts:
        sha256.update(text.encode())
    return sha256.hexdigest()


def is_unchanged(output: Path, mark: str | None) -> bool:
    """Whether a folder's run is finished, has this fingerprint, and is whole as it was published.

    Args:
        output: the run's folder.
        mark: a fingerprint, or None, which no run has.
    """
    info = read_run(output)
    if mark is None or info.get("fingerprint") != mark:
        return False
    counts = info.get("counts") or {}
    if not info.get("complete") or counts.get("failed") != {}:
        return False
    opened = read_note(output)
    if not counts.get("kept") or opened is None:
        return False
    target = (info.get("settings") or {}).get("target")
    if target is not None and counts["kept"] < target:
        return False
    if not (output / "journal" / "replies.log").is_file():
        return False  # who takes the replies away wants new ones
    return is_as_published(output, info)


def is_as_published(output: Path, info: Fields) -> bool:
    """Whether the pack, the card and the rows of a folder are those of its run.json."""
    opened = read_note(output)
    if opened is None or digests(output / "pack") != opened.pack_files:
        return False
    if not is_our_card(output, info):
        return False
    return content_of(output) == info.get("content")


def fingerprint_of_merge(
    pack: Pack, shards: Mapping[Path, Fields], how: Iterable[object]
) -> str | None:
    """A hash of all that decides the rows of joined shards; None where some of it cannot be hashed.

    Args:
        pack: the pack with everything that options change in it.
        shards: folder -> run.json of each shard, whose rows are read.
        how: everything else, such as the plan.
    """
    if not _is_built_in(pack) or _may_read_files(pack):
        return None
    parts = [_code(), _packages(), pack.hash, *map(str, how)]
    for folder, info in shards.items():
        parts += [str(info), content_of(folder)]
    return _hash_of(parts)


def _hash_of(parts: Iterable[str]) -> str:
    """A hash of texts in order; no two lists of them are spelled alike."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()


def _is_of_files(teacher: str) -> bool:
    return teacher.startswith(OF_FILES) or ":" in teacher.partition("/")[0]


def _input_files(source: Any) -> list[Path] | None:
    """The files of an input; None where it is no local file, or more than files."""
    if isinstance(source, PartSeeds):
        return [source.file]
    if isinstance(source, str | Path):
        source = [source]
    if not isinstance(source, list | tuple):
        return None
    files = []
    for one in source:
        if not isinstance(one, str | Path) or is_remote(str(one)):
            return None
        path = Path(split_of(str(one))[0]).expanduser()
        if not path.is_file():
            return None
        files.append(path)
    return files


def _is_built_in(pack: Pack) -> bool:
    """Whether all code that judges and reads is this package's own."""
    parts: list[Any] = []
    for step in pack.steps:
        parts += step.filters
        parts += [parser for _, parser in step.parsers]
    return all(type(part).__module__.startswith("synth.") for part in parts)


def _may_read_files(pack: Pack, overrides: object = ()) -> bool:
    """Whether a filter may read a file that no hash here knows."""
    judging: list[Any] = [step.filters for step in pack.spec.steps]
    judging += [block.by for block in pack.spec.retrieves.values()]
    judging += [step.chosen.spec.by for step in pack.steps if step.chosen]
    return any(map(_may_name_files, _texts([*judging, overrides])))


def _asked_packs(pack: Pack) -> Iterator[str]:
    """Hashes of the packs by which filters ask."""
    for step in pack.steps:
        for part in step.filters:
            for _, its_pack, _ in part.questions(1):
                yield its_pack.hash


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """All texts in nested values, names left out."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, list | tuple):
            yield from _texts(value)


def _is_there(text: str) -> bool:
    """Whether a text names a file or folder; it may be no path at all."""
    return os.path.exists(os.path.expanduser(text))  # noqa: PTH110, PTH111


def _may_name_files(text: str) -> bool:
    """Whether a filter's parameter may stand for files that are not there under that very name: a
    pattern, several paths in one, a model of the hub.
    """
    if _is_there(text):
        return False
    return not _PATH_SIGNS.isdisjoint(text) or ending_of(text) in READERS


@cache
def _packages() -> str:
    """Names and versions of all packages, and Python's: they judge too."""
    places = [Path(place) for place in sys.path if Path(place).is_dir()]
    found = {path.name for place in places for path in place.glob("*.*-info")}
    return f"{sys.version} {sorted(found)}"


@cache
def _code() -> str:
    """Names, sizes and times of this package's own files: another version may judge otherwise. To
    read them all takes ten times as long.
    """
    found = []
    for folder, _, names in os.walk(_ROOT):
        for name in names:
            if name.endswith(".py"):
                path = f"{folder}/{name}"
                stat = os.stat(path)  # noqa: PTH116 - 370 paths
                found.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return _hash_of(sorted(found))
