"""Files that a measurement writes: those of an earlier one are written over, those of others are
not.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from finetune.core.json_files import (
    as_people_read,
    check_writable,
    write_together,
)
from synth.core.errors import WrongUse
from synth.core.records import Row

# What every measurement writes, with what it found.
MEASURED = "evaluation.json"
# What most write beside it: the rows, and what was said to each.
PREDICTIONS = "predictions.jsonl"
_TODO = "Give another --output, or move it away."


def check_folder(
    folder: Path, beside: Sequence[str], keys: Collection[str]
) -> None:
    """Checks that a measurement may write into a folder, before it begins.

    Args:
        folder: where its files go.
        beside: names of the files that it writes besides `MEASURED`.
        keys: that `MEASURED` of an earlier such measurement has.

    Raises:
        WrongUse: the folder is a file, or holds one of these files, which no such measurement
            wrote.
        OSError: it cannot be made or written into.
    """
    if folder.exists() and not folder.is_dir():
        raise WrongUse(
            f"--output {folder}",
            "a file",
            "a folder for what is measured",
            _TODO,
        )
    check_writable(folder)
    there = [name for name in (MEASURED, *beside) if (folder / name).exists()]
    if there and not _holds(folder / MEASURED, keys):
        raise WrongUse(
            f"--output {folder}",
            f"{', '.join(there)}, which no such measurement wrote",
            "an empty folder, or one of an earlier measurement",
            _TODO,
        )


def write_evaluation(folder: Path, info: object, rows: Iterable[Row]) -> None:
    """Writes predictions.jsonl, and then evaluation.json: where this is, that is whole.

    Args:
        folder: is made.
        info: what was measured.
        rows: with what was said of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in rows]
    write_together(
        {
            folder / PREDICTIONS: "".join(lines),
            folder / MEASURED: as_people_read(info),
        }
    )


def check_apart(path: Path, source: str) -> None:
    """Raises WrongUse where rows would be written over the file that they are read from.

    Args:
        path: where rows go.
        source: of the rows that are read.
    """
    given = Path(source)
    if path.exists() and given.exists() and path.samefile(given):
        raise WrongUse(
            f"--output {path}",
            "the file of --input",
            "another file for what is made",
            "Give another path.",
        )


def check_rows(path: Path, keys: Collection[str]) -> None:
    """Checks that rows may be written to a file (.jsonl), before they are made.

    Args:
        path: where they go.
        keys: that each row has.

    Raises:
        WrongUse: a folder, or a file with something else than such rows.
    """
    if path.is_dir():
        raise WrongUse(f"--output {path}", "a folder", "a file for rows", _TODO)
    if path.exists() and path.stat().st_size and not _holds(path, keys):
        raise WrongUse(
            f"--output {path}",
            "a file that this command did not write",
            "a new file, or one of an earlier call",
            _TODO,
        )


def _holds(path: Path, keys: Collection[str]) -> bool:
    """Whether a file is an object of JSON, or begins with one in a line, that has all keys."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.readline() if path.suffix == ".jsonl" else file.read()
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {*keys} <= {*found}
