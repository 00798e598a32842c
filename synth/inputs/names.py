"""Whether a text names a path of this machine or something of a hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from synth.core.errors import WrongUse, did_you_mean

# What runs, trainings and evaluations leave in their folders. Nothing that a download of the hub
# leaves is among these: `Qwen/` may hold one model here and another one there.
_RECORDS = ("run.json", "train.json", "evaluation.json")
# Endings of files that hold rows.
_ROWS = (".jsonl", ".parquet", ".csv")
# Names of neighbours that an error lists at most.
_MOST_NAMED = 50
# How like a neighbour's a name without a folder is that was meant for it: of the signs of both,
# the share that they have in common, as difflib counts it.
_LIKENESS = 0.85


def is_a_path(name: str) -> bool:
    """Whether a name can only be a path.

    A name of a hub is NAME or OWNER/NAME. It is a path too where OWNER is a folder here that holds
    rows, runs or students; where such a folder is called nearly so, and holds NAME; and where NAME
    alone is nearly that of a run, a student or an evaluation here. What is called after a model
    (gpt2-short) is not nearly gpt2.

    >>> is_a_path("./runs/cot"), is_a_path("a/b/c"), is_a_path("openai/gsm8k")
    (True, True, False)
    """
    if name.startswith((".", "/", "~")):
        return True
    if name.count("/") > 1:
        return True
    owner, slash, base = name.partition("/")
    if not slash:
        return any(map(_is_work, _nearly(name)))
    if _holds_work(owner):
        return True
    holders = filter(_holds_work, _nearly(owner))
    return any(Path(holder, base).exists() for holder in holders)


def _nearly(name: str) -> list[str]:
    """Names here that may be this one, but for a slip of the hand."""
    found = []
    for entry in get_close_matches(name, _entries("."), cutoff=_LIKENESS):
        # What begins with the other is called after it, not misspelt.
        is_after = entry.startswith(name) or name.startswith(entry)
        if not is_after:
            found.append(entry)
    return found


def _holds_work(folder: str) -> bool:
    """Whether a folder holds rows, or folders of runs, students or evaluations."""
    entries = _entries(folder)
    if any(entry.endswith(_ROWS) for entry in entries):
        return True
    return any(_is_work(Path(folder, entry)) for entry in entries)


def _is_work(folder: str | Path) -> bool:
    """Whether a folder is that of a run, a student or an evaluation."""
    return any(Path(folder, record).is_file() for record in _RECORDS)


def _entries(folder: str) -> list[str]:
    """Names in a folder; none where it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - texts, as the name is
    except (OSError, ValueError):
        return []


def beside(name: str) -> Sequence[str]:
    """At most 50 other names in the folder that a path is in."""
    folder, base = os.path.split(name.rstrip("/"))
    others = [entry for entry in _entries(folder or ".") if entry != base]
    return others[:_MOST_NAMED]


def require_there(where: str, name: str, wanted: str) -> None:
    """Refuses what can only be a path and is none, before a hub is asked.

    Args:
        where: what named it.
        name: a path, or a name of a hub.
        wanted: what should stand there.

    Raises:
        WrongUse: nothing stands there; names what is near.
    """
    # Those of os.path answer for every text: also for names too long and folders out of reach.
    path = os.path.expanduser(name)  # noqa: PTH111
    if os.path.exists(path) or not is_a_path(path):  # noqa: PTH110
        return
    raise not_there(where, path, wanted)


def not_there(where: str, path: str, wanted: str) -> WrongUse:
    """That nothing stands at a path, with what is near.

    Args:
        where: what named it.
        path: that leads nowhere.
        wanted: what should stand there.
    """
    return WrongUse(where, "no such file or folder", wanted, near(path))


def near(path: str) -> str:
    """What may have been meant by a path that leads nowhere: neighbours of the first part of it
    that is not there.
    """
    missing = path.rstrip("/")
    folder, base = os.path.split(missing)
    # Those of os.path, as above.
    while folder and not os.path.exists(folder):  # noqa: PTH110
        missing = folder
        folder, base = os.path.split(missing)
    return did_you_mean(base, beside(missing))
