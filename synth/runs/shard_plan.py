"""What a folder says of a run in shards: `shards/plan.json`, written before the first shard is
run, and one run folder for each shard.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import orjson

from synth.core.errors import WrongUse
from synth.core.records import Fields, canonical_json
from synth.inputs.seeds import BeyondFloat, BeyondInt, Scan
from synth.runs.ownership import put_json

_KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        *(str, int, float, bool, list, dict, NoneType),
        *(BeyondFloat, BeyondInt),
    )
}


@dataclass(frozen=True)
class ShardPlan:
    """A run's shards.

    Attributes:
        pack: the pack's name.
        pack_hash: the hash of the pack with everything that options change in it.
        where: what the input is called.
        rows: seeds of each shard.
        contents: sha256 of each shard's file of seeds.
        kinds: column -> kinds of its values in the whole input; every shard has the same columns.
        rename: input column -> its name in the pack.
        teachers: role -> teacher of every shard.
        budget: dollars of all shards together; None where there is no cap.
        settings: option -> what it said, of those that decide what is asked; of `--set`, each key
            by itself. A plan of an earlier version has none.
        folder: last part of the path under which the pack was given, or its name.
        command: words of the command that planned; empty where Python did.
        place: the folder in which that command ran.
    """

    pack: str
    pack_hash: str
    where: str
    rows: tuple[int, ...]
    contents: tuple[str, ...]
    kinds: Mapping[str, frozenset[type]]
    rename: Mapping[str, str]
    folder: str
    teachers: Mapping[str, str]
    budget: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    place: str = ""

    @property
    def shards(self) -> int:
        """How many there are; some may be empty."""
        return len(self.rows)

    @property
    def first(self) -> int:
        """The first shard that has a seed."""
        return next(n for n, rows in enumerate(self.rows) if rows)

    def scan(self, rows: int) -> Scan:
        """What a pass over so many rows of the input would have seen."""
        return Scan(rows, self.kinds)

    def mark(self, shard: int) -> str:
        """A hash of what decides a shard's files: its seeds, their places, the kinds of columns."""
        kinds = {name: _names(seen) for name, seen in self.kinds.items()}
        whole = [self.pack_hash, self.contents[shard], kinds, self.rename]
        return hashlib.sha256(canonical_json(whole)).hexdigest()

    def write(self, folder: Path) -> None:
        """Puts the plan in place in one move."""
        kinds = {name: _names(seen) for name, seen in self.kinds.items()}
        put_json(plan_file(folder), {**asdict(self), "kinds": kinds})

    @classmethod
    def read(cls, folder: Path) -> ShardPlan:
        """The plan of a folder.

        Raises:
            WrongUse: there is none, or none that can be read.
        """
        path = plan_file(folder)
        todo = "Plan it first: the same `synth run` with --shards N and without --shard."
        if not path.is_file():
            raise WrongUse(
                str(folder),
                "no shards/plan.json",
                "a run in shards",
                todo,
            )
        try:
            value: Fields = orjson.loads(path.read_bytes())
            _check_types(value)
            names = value.pop("kinds")
            kinds = {column: _kinds(names[column]) for column in names}
            rows = tuple(value.pop("rows"))
            contents = tuple(value.pop("contents"))
            plan = cls(kinds=kinds, rows=rows, contents=contents, **value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WrongUse(
                str(path),
                f"{error!r}"[:200],
                "what `--shards` wrote",
                todo,
            ) from error
        if not any(plan.rows):
            raise WrongUse(str(path), "no seed in it", "one at least", todo)
        return plan


def _check_types(value: Fields) -> None:
    """Raises ValueError where somebody wrote other things than `ShardPlan.write` does."""
    texts = [value["command"], value["contents"], [*value["rename"].items()]]
    lines = ["pack", "pack_hash", "where", "folder", "place"]
    if not all(isinstance(value[name], str) for name in lines):
        raise ValueError("text expected")
    if not all(isinstance(listed, list) for listed in texts):
        raise ValueError("lists expected")
    if not all(isinstance(text, str) for text in [*texts[0], *texts[1]]):
        raise ValueError("lists of texts expected")
    if not all(isinstance(new, str) for _, new in texts[2]):
        raise ValueError("new names expected")
    teachers = [*value["teachers"].items()]
    if not all(isinstance(name, str) for _, name in teachers):
        raise ValueError("names of teachers expected")
    if not isinstance(value.get("settings", {}), dict):
        raise TypeError("settings by option expected")
    if not isinstance(value["budget"], float | int | None):
        raise TypeError("a budget expected")
    rows = value["rows"]
    if not all(type(count) is int and count >= 0 for count in rows):
        raise ValueError("numbers of rows expected")
    if len(rows) != len(value["contents"]):
        raise ValueError("a hash for each shard expected")


def _names(kinds: frozenset[type]) -> list[str]:
    return sorted(kind.__name__ for kind in kinds)


def _kinds(names: Sequence[str]) -> frozenset[type]:
    return frozenset(_KINDS[name] for name in names)


def plan_file(folder: Path) -> Path:
    """Where the plan of a run in shards stands."""
    return folder / "shards" / "plan.json"


def is_planned(folder: Path) -> bool:
    """Whether a folder's run is one in shards."""
    return plan_file(folder).is_file()


def check_joined(folder: Path) -> None:
    """Raises WrongUse where a folder's shards are planned and not joined: it has no rows yet."""
    if is_planned(folder) and not (folder / "run.json").is_file():
        raise WrongUse(
            str(folder),
            "a run in shards that are not joined yet",
            "one that `synth merge` has published",
            f"Run what is missing, then: synth merge {shlex.quote(str(folder))}",
        )


def shard_folder(folder: Path, shard: int) -> Path:
    """The run folder of one shard."""
    return folder / "shards" / f"{shard:05d}"


def seeds_folder(folder: Path) -> Path:
    """Where the seeds of all shards lie."""
    return folder / "shards" / "seeds"


def run_folders(folder: Path) -> list[Path]:
    """The folders that hold a run's replies: its own, or those of the shards that have begun."""
    if not is_planned(folder):
        return [folder]
    shards = range(ShardPlan.read(folder).shards)
    folders = [shard_folder(folder, shard) for shard in shards]
    return [shard for shard in folders if (shard / "journal").is_dir()]
