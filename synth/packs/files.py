"""The files of a pack's folder, as a stranger may have filled it: regular files of bounded number
and size, no links.

Links, pipes, devices and hidden files are no part of a pack: they are neither read nor copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from synth.core.errors import WrongUse, printable

# The stages of a system, beside its pack; and which published systems the folder serves.
FLOW = "flow.yaml"
SYSTEMS = "systems.yaml"
# What is said of a pack: it asks nothing.
BESIDE = (FLOW, SYSTEMS)
MOST_FILES = 1000
MOST_FOLDERS = 8
MOST_TEXT = 256 * 1024
MOST_FILE = 16 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
_TODO = (
    "Keep only the pack's own files in its folder; --set retrieve.file=FILE names a large "
    "one elsewhere."
)


def read_inside(folder: Path, name: str, most: int = MOST_FILE) -> bytes:
    """A regular file of a pack.

    Args:
        folder: the pack's; it may be a link itself, nothing in it may.
        name: relative, with `/` between parts.
        most: bytes.

    Raises:
        WrongUse: no such file, a link, no regular file, outside the folder, or too large.
    """
    path = folder / name
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        raise WrongUse(
            str(path),
            "a place outside the pack",
            "a file inside the pack",
            "Put the file beside pack.yaml.",
        )
    spot = folder
    try:
        for part in parts:
            spot = spot / part
            kind = spot.lstat().st_mode
            if stat.S_ISLNK(kind):
                todo = "Copy what it stands for into the folder: cp -rL FOLDER NEW."
                raise WrongUse(
                    str(spot),
                    "a link",
                    "a file inside the pack",
                    todo,
                )
        if not stat.S_ISREG(kind):
            raise WrongUse(
                str(path),
                "no regular file",
                "a file inside the pack",
                "Take it out.",
            )
        # Neither a link nor a pipe that came in the meantime is followed or waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            content = (
                file.read(most + 1)
                if stat.S_ISREG(os.fstat(handle).st_mode)
                else b""
            )
    except (OSError, ValueError) as error:
        if isinstance(error, WrongUse):
            raise
        raise WrongUse(
            str(path),
            f"no readable file ({error})",
            "a file inside the pack",
            "Check the path.",
        ) from error
    if len(content) > most:
        raise WrongUse(
            str(path),
            f"more than {most:,} bytes",
            f"at most {most:,}",
            "Split the file.",
        )
    return content


def read_text_inside(folder: Path, name: str) -> str:
    """A text file of a pack, of at most 256 KiB.

    Raises:
        WrongUse: as `read_inside`, or not UTF-8.
    """
    try:
        return read_inside(folder, name, MOST_TEXT).decode()
    except UnicodeDecodeError as error:
        raise WrongUse(
            str(folder / name),
            f"no text ({error})",
            "a UTF-8 text file",
            "Save it as UTF-8.",
        ) from error


def regular_files(folder: Path) -> list[Path]:
    """The files that make a pack, relative to its folder and sorted.

    Raises:
        WrongUse: too many, too large, too deep, or a name that would hide what it is.
    """
    names = sorted(_walk(folder, PurePosixPath(), [0, 0]))
    return [Path(name) for name in names]


def _walk(
    folder: Path, inside: PurePosixPath, seen: list[int]
) -> Iterator[PurePosixPath]:
    """Regular files below a folder; `seen` counts entries and bytes over the whole walk."""
    if len(inside.parts) > MOST_FOLDERS:
        raise WrongUse(
            str(folder),
            f"folders more than {MOST_FOLDERS} deep",
            "a flat pack",
            _TODO,
        )
    with os.scandir(folder / inside) as entries:
        for entry in entries:
            seen[0] += 1
            if seen[0] > MOST_FILES:
                raise WrongUse(
                    str(folder),
                    f"more than {MOST_FILES:,} files",
                    "a pack",
                    _TODO,
                )
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if (
                printable(entry.name) != entry.name
                or "\n" in entry.name
                or "\t" in entry.name
            ):
                raise WrongUse(
                    str(folder),
                    f"file name {entry.name!r}",
                    "names of visible signs",
                    "Rename the file.",
                )
            name = inside / entry.name
            if entry.is_dir():
                if not _is_another(Path(entry.path)):
                    yield from _walk(folder, name, seen)
            elif entry.is_file():
                seen[1] += _size(folder / name, entry.stat().st_size)
                if seen[1] > MOST_BYTES:
                    raise WrongUse(
                        str(folder),
                        f"more than {MOST_BYTES:,} bytes",
                        "a pack",
                        _TODO,
                    )
                yield name


def _size(path: Path, size: int) -> int:
    if size > MOST_FILE:
        raise WrongUse(
            str(path),
            f"{size:,} bytes",
            f"at most {MOST_FILE:,} a file of a pack",
            _TODO,
        )
    return size


def _is_another(folder: Path) -> bool:
    """Whether a folder inside is no part of the pack: a pack of its own, such as another one of the
    same flow, or the output of a run.
    """
    marks = ("pack.yaml", "run.json", "journal")
    return any((folder / mark).exists() for mark in marks)


def digest(folder: Path, more: bytes) -> str:
    """16 hex digits of the names and contents of a pack's files, and of what the user changes in
    it.

    Raises:
        WrongUse: as `regular_files`.
    """
    sha256 = hashlib.sha256()
    for name in regular_files(folder):
        if name.as_posix() in BESIDE:
            continue
        sha256.update(
            name.as_posix().encode()
            + b"\0"
            + read_inside(folder, name.as_posix())
            + b"\0"
        )
    sha256.update(more)
    return sha256.hexdigest()[:16]


def copy(folder: Path, target: Path) -> None:
    """Copies a pack's files, and nothing else that its folder holds, in place of what stands at
    `target`; a pack that lies there already stays.

    Raises:
        WrongUse: as `regular_files`.
    """
    if target.resolve() == folder.resolve():
        return
    # Read whole before anything is taken away: the target may lie inside the folder.
    contents = {
        name: read_inside(folder, name.as_posix())
        for name in regular_files(folder)
    }
    aside = target.with_name(f".{target.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, content in contents.items():
        path = aside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
