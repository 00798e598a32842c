"""Records that a command leaves beside what it made."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path


def check_writable(folder: Path) -> None:
    """Looks whether a folder can be made or written into, before there is something to write.

    Raises:
        OSError: no, by its path.
    """
    there = next(
        one for one in (folder, *folder.absolute().parents) if one.exists()
    )
    if not there.is_dir():
        number = errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        number = errno.EACCES
    else:
        return
    raise OSError(number, os.strerror(number), str(there))


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, which has all of the text or is as it was, also where a disk is full."""
    write_together({path: text})


def write_together(texts: Mapping[Path, str]) -> None:
    """Writes text files in their order, none of them before there was room for all."""
    asides: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            if path.exists() and not path.is_file():
                # A device or a pipe is no file that another could stand in for.
                path.write_text(text, encoding="utf-8", errors="replace")
                continue
            target = path.resolve()
            aside = target.with_name(f".{target.name}.{os.getpid()}")
            asides[aside] = target
            aside.write_text(text, encoding="utf-8", errors="replace")
        for aside, target in asides.items():
            aside.replace(target)
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Writes what JSON can say as people read it, two spaces a level."""
    write_whole(path, as_people_read(content))


def as_people_read(content: object) -> str:
    """What JSON can say, two spaces a level, with the end of its last line."""
    return json.dumps(content, indent=2) + "\n"
