"""Who writes a shard's folder: one process at a time, also where an earlier one may come back.

Each owner has a number and a file `NNNNN.owner-NUMBER` beside the folder, which can be made once
(O_EXCL). An owner writes by a handle of the folder. One that did not end in order leaves its file
behind: the next owner copies the folder, and whatever the old handle still writes goes into one
that no name leads to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from synth.core.errors import WrongUse
from synth.processes.file_lock import InUse, locked

# What stays behind with an earlier owner: its lock, and what it had not published.
_LEFT = ("lock", ".unpublished", ".old-*")


@contextlib.contextmanager
def owned(folder: Path, number: int) -> Iterator[Path]:
    """The path by which the owner of this number writes a folder.

    Args:
        folder: a shard's; it may be missing.
        number: higher than that of every owner before.

    Raises:
        WrongUse: another process has the number.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = _owner_file(folder, number)
    with _alone(folder):
        _enter(folder, own, number)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
    own.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps others from taking the folder over meanwhile, also while this process is stopped.

    Raises:
        WrongUse: another process is about to.
    """
    path = folder.with_name(f"{folder.name}.lock")
    try:
        lock = locked(path)
    except InUse as error:
        raise _taken(folder, "taken over") from error
    with lock:
        yield


def _enter(folder: Path, own: Path, number: int) -> None:
    """Makes the owner's file, and a folder to which no earlier owner has a handle."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        os.close(os.open(own, flags, 0o600))
    except FileExistsError as error:
        raise _taken(folder, f"owned ({own.name})") from error
    before = []
    for file in _owner_files(folder):
        if _number(file) > number:
            own.unlink()
            raise _taken(folder, "owned by a later process")
        if file != own:
            before.append(file)
    folder.mkdir(mode=0o700, exist_ok=True)
    if before:
        _take_over(folder, number)
    for file in before:
        file.unlink()


def _taken(folder: Path, how: str) -> WrongUse:
    return WrongUse(
        str(folder),
        f"a shard that is {how}",
        "one that no other run writes",
        "Wait for that run, or end it.",
    )


def _owner_file(folder: Path, number: int) -> Path:
    return folder.with_name(f"{folder.name}.owner-{number}")


def _owner_files(folder: Path) -> list[Path]:
    beside = folder.parent
    return sorted(beside.glob(f"{folder.name}.owner-*"))


def _number(file: Path) -> int:
    return int(file.name.rpartition("-")[2])


def _take_over(folder: Path, number: int) -> None:
    """Puts a copy in the folder's place; what a crash in between leaves, the next owner finds."""
    _mend(folder)
    fresh = folder.with_name(f"{folder.name}.new-{number}")
    ignore = shutil.ignore_patterns(*_LEFT)
    shutil.copytree(folder, fresh, ignore=ignore)
    aside = folder.with_name(f"{folder.name}.old-{number}")
    folder.rename(aside)
    fresh.rename(folder)
    shutil.rmtree(aside)


def _mend(folder: Path) -> None:
    """Ends what an owner before began: its half copy goes, and a folder that it put aside comes
    back where nothing stands in its place.
    """
    beside = folder.parent
    name = folder.name
    for fresh in beside.glob(f"{name}.new-*"):
        shutil.rmtree(fresh)
    for aside in beside.glob(f"{name}.old-*"):
        if any(folder.iterdir()):
            shutil.rmtree(aside)
        else:
            folder.rmdir()
            aside.rename(folder)
