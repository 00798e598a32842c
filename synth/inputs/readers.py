"""Rows of a file, by its ending: (place, row) pairs, where a place is `file:line` as far as there
are lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.inputs.files import (
    ending_of,
    exists,
    is_folder,
    is_remote,
    names_in,
    opened,
    shown,
    text_lines,
)
from synth.inputs.hub import settle_hub
from synth.inputs.names import near, require_there
from synth.inputs.values import plain, read_json

Rows = Iterator[tuple[str, Any]]
# What `datasets` writes beside the rows of a dataset.
_METADATA = frozenset(
    {
        "dataset_info.json",
        "dataset_infos.json",
        "state.json",
        "dataset_dict.json",
    }
)
# `train-00000-of-00002.parquet`, `test.jsonl`: files that a repository of a dataset keeps apart.
_SPLIT = re.compile(r"(train|test|validation|valid|val|dev|eval)(?:[-_.].*)?$")
DEFAULT_SPLIT = "train"
# A cell in quotes: its signs part nothing.
_QUOTED = re.compile(r'"[^"]*"')
# A row of a table may be long: a context of many documents.
csv.field_size_limit(1 << 30)


def rows_of(source: str, split: str = "") -> Rows:
    """Rows of a file or folder.

    Args:
        source: a path or URL.
        split: of a folder that holds several; "" for `train`, or the only one.

    Raises:
        WrongUse: something that cannot be read, with its place.
    """
    if is_folder(source):
        yield from _folder(source, split)
        return
    read = READERS.get(ending_of(source))
    if read is None:
        raise _unknown(source)
    yield from read(source, shown(source))


def check_source(source: str) -> None:
    """Raises WrongUse where a path names nothing, or a file whose ending says nothing."""
    if is_remote(source) and ending_of(source) in READERS:
        return
    if not exists(source):
        raise WrongUse(
            shown(source),
            "no such file",
            "an input file",
            "Check the path." if is_remote(source) else near(source),
        )
    if not is_folder(source) and ending_of(source) not in READERS:
        raise _unknown(source)


def _unknown(source: str) -> WrongUse:
    wanted = (
        f"a file ending in {', '.join(READERS)} (or packed: .gz .zst .bz2 .xz), a folder, "
        "`-` or a dataset name"
    )
    return WrongUse(
        shown(source),
        f"ending {ending_of(source)!r}",
        wanted,
        "Check the path.",
    )


def json_lines(lines: Iterable[bytes], where: str, *, first: int = 1) -> Rows:
    """JSON Lines; lines of white space count and say nothing."""
    for number, line in enumerate(lines, first):
        if line.isspace():
            continue
        try:
            yield f"{where}:{number}", read_json(line)
        except ValueError as error:
            got = f"broken JSON ({error}) in {line[:60]!r}"
            raise WrongUse(
                f"{where}:{number}",
                got,
                "one JSON object per line",
                "Correct that line.",
            ) from error


def _json(source: str, where: str) -> Rows:
    """A list of objects, an object with such a list in it, or one object a line."""
    with text_lines(source) as lines:
        head: list[bytes] = []
        for line in lines:
            head.append(line)
            if not line.isspace():
                break
        start = head[-1].lstrip() if head else b""
        if start.startswith(b"{") and _is_object(start):
            yield from json_lines(chain(head, lines), where)
            return
        text = b"".join(chain(head, lines))
    if not text.strip():
        return
    try:
        value = read_json(text)
    except ValueError as error:
        location = f"{where}:{getattr(error, 'lineno', 1)}"
        raise WrongUse(
            location,
            f"broken JSON ({error})",
            "a list of objects, or one object a line",
            "Correct the file.",
        ) from error
    for number, row in enumerate(_listed(value, where), 1):
        yield f"{where} row {number}", row


def _is_object(line: bytes) -> bool:
    try:
        value = read_json(line)
    except ValueError:
        return False
    # `{"data": [...]}` on one line is a file of its own.
    return isinstance(value, dict) and not _lists_in(value)


def _lists_in(value: Fields) -> list[str]:
    """Keys whose value is a list of objects."""
    return [key for key, part in value.items() if _is_table(part)]


def _is_table(part: Any) -> bool:
    """Whether a value is a list of objects, one at least."""
    if not isinstance(part, list) or not part:
        return False
    return all(isinstance(row, dict) for row in part)


def _listed(value: Any, where: str) -> list[Any]:
    if isinstance(value, list):
        return value
    keys = _lists_in(value) if isinstance(value, dict) else []
    if isinstance(value, dict) and len(keys) == 1:
        return list(value[keys[0]])
    if isinstance(value, dict) and not keys:
        return [value]
    got = (
        f"lists of objects under {', '.join(keys)}"
        if keys
        else f"a {type(value).__name__}"
    )
    raise WrongUse(
        where,
        got,
        "a list of objects",
        "Write the rows as one list, or one object a line.",
    )


def _jsonl(source: str, where: str) -> Rows:
    """One object a line; a file that is one list all the same is read as one."""
    with text_lines(source) as lines:
        first = next(lines, b"\n")
        if not first.lstrip().startswith(b"["):
            yield from json_lines(chain([first], lines), where)
            return
    yield from _json(source, where)


def _table(delimiter: str) -> Callable[[str, str], Rows]:
    def read(source: str, where: str) -> Rows:
        with text_lines(source) as lines:
            yield from _cells(_decoded(lines, where), where, delimiter)

    return read


def _decoded(lines: Iterable[bytes], where: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            got = f"bytes that are no UTF-8 ({error.object[error.start : error.start + 4]!r})"
            raise WrongUse(
                f"{where}:{number}",
                got,
                "UTF-8 or UTF-16",
                "Save the file as UTF-8.",
            ) from error


def _cells(lines: Iterator[str], where: str, delimiter: str) -> Rows:
    skipped = 0
    header = next(lines, "")
    while header and not header.strip("\r\n"):
        skipped += 1
        header = next(lines, "")
    outside = _QUOTED.sub("", header)
    if delimiter == "," and "," not in outside:
        # Spreadsheets of many countries write `;`, as their decimals have the comma.
        delimiter = next((mark for mark in ";\t|" if mark in outside), ",")
    reader = csv.reader(
        chain([header], lines), delimiter=delimiter, strict=True
    )
    try:
        names = next(reader, [])
        _check_header(names, where)
        for cells in reader:
            if not cells:
                continue
            location = f"{where}:{skipped + reader.line_num}"
            if len(cells) != len(names):
                got = f"{len(cells)} cells"
                todo = f"Quote cells that hold {delimiter!r} or line ends."
                raise WrongUse(
                    location,
                    got,
                    f"{len(names)} cells, as in the header",
                    todo,
                )
            yield location, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        location = f"{where}:{skipped + reader.line_num + 1}"
        raise WrongUse(
            location,
            f"{error}",
            "a table of cells",
            "Correct the file, or write it again.",
        ) from error


def _check_header(names: list[str], where: str) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise WrongUse(
            f"{where}:1",
            f"two columns {twins[0]!r}",
            "each column's name once",
            "Rename one of them.",
        )


def _parquet(source: str, where: str) -> Rows:
    import pyarrow.parquet as pq  # noqa: PLC0415 - 0.2 s that a JSONL user need not pay

    with opened(source) as file:
        yield from _batches(
            lambda: pq.ParquetFile(file).iter_batches(batch_size=1024),
            where,
            "a parquet file",
        )


def _arrow(source: str, where: str) -> Rows:
    """Arrow's file format, or its stream format as `datasets` writes it."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    def batches() -> Iterator[Any]:
        with opened(source) as file:
            data = file.read()
        if data.startswith(b"ARROW1"):
            reader = pa.ipc.open_file(data)
            return (
                reader.get_batch(number)
                for number in range(reader.num_record_batches)
            )
        return iter(pa.ipc.open_stream(data))

    yield from _batches(batches, where, "an Arrow file")


def _batches(
    batches: Callable[[], Iterator[Any]], where: str, wanted: str
) -> Rows:
    number = 0
    try:
        for batch in batches():
            # Offsets of a file that something changed may point anywhere.
            batch.validate(full=True)
            names = batch.schema.names
            if len(set(names)) < len(names):
                _check_header(list(names), where)
            for row in batch.to_pylist():
                number += 1
                location = f"{where} row {number}"
                yield location, plain(row, location)
    except WrongUse:
        raise
    except (
        ValueError,
        OSError,
        TypeError,
        KeyError,
        NotImplementedError,
    ) as error:
        got = f"{type(error).__name__}: {str(error)[:200]}"
        raise WrongUse(
            f"{where} row {number + 1}",
            got,
            wanted,
            "Write the file again.",
        ) from error


def _folder(folder: str, split: str) -> Rows:
    """A run folder, what `save_to_disk` wrote, a dataset's repository, or every readable file, by
    name.
    """
    names = {Path(name).name for name in names_in(folder)}
    if {"dataset_dict.json", "state.json"} & names:
        yield from _saved(folder, split)
        return
    inner = f"{folder.rstrip('/')}/data"
    entry = (
        inner
        if is_folder(inner)
        and any(ending_of(name) in READERS for name in names_in(inner))
        else folder
    )
    files = [
        name
        for name in names_in(entry)
        if ending_of(name) in READERS and Path(name).name not in _METADATA
    ]
    if not files:
        wanted = f"a run folder, or files ending in {', '.join(READERS)}"
        raise WrongUse(
            shown(folder),
            "a folder without rows",
            wanted,
            "Check the path.",
        )
    for file in _of_split(files, split, folder):
        yield from READERS[ending_of(file)](file, shown(file))


def _of_split(files: list[str], split: str, folder: str) -> list[str]:
    """The files of one split; all of them where their names tell none apart."""
    named = {
        file: match[1]
        for file in files
        if (match := _SPLIT.match(Path(file).name.lower()))
    }
    splits = sorted(set(named.values()))
    if split and split not in splits:
        todo = (
            f"It has: {', '.join(splits)}."
            if splits
            else "Its files name no splits."
        )
        raise WrongUse(
            shown(folder),
            f"no split {split!r}",
            "a split of the folder",
            todo,
        )
    if split or len(splits) > 1:
        wanted = split or DEFAULT_SPLIT
        if wanted not in splits:
            raise WrongUse(
                shown(folder),
                f"splits {', '.join(splits)}",
                "one of them",
                f"Write {shown(folder)}:{splits[0]}.",
            )
        return [file for file in files if named.get(file) == wanted]
    return files


def _saved(folder: str, split: str) -> Rows:
    """What `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    # Seconds, and only for such folders.
    from datasets import Dataset, load_from_disk  # noqa: PLC0415

    try:
        loaded = load_from_disk(folder)
    except Exception as error:
        got = f"{type(error).__name__}: {str(error)[:200]}"
        raise WrongUse(
            shown(folder),
            got,
            "a folder that `save_to_disk` wrote",
            "Write it again.",
        ) from error
    if not isinstance(loaded, Dataset):
        loaded = loaded[_only(list(loaded), split, shown(folder))]
    elif split:
        raise WrongUse(
            shown(folder),
            f"split {split!r}",
            "no split: the folder holds one dataset",
            f"Write {shown(folder)}.",
        )
    for number, row in enumerate(loaded, 1):
        location = f"{shown(folder)} row {number}"
        yield location, plain(row, location)


def _only(splits: list[str], split: str, where: str) -> str:
    """The split that is meant: the named one, `train`, or the only one."""
    wanted = split or (splits[0] if len(splits) == 1 else DEFAULT_SPLIT)
    if wanted not in splits:
        raise WrongUse(
            where,
            f"splits {', '.join(map(str, splits))}",
            "one of them",
            f"Write {where}:{splits[0] if splits else 'SPLIT'}.",
        )
    return wanted


def hub_rows(name: str) -> Rows:
    """Rows of a dataset by its name, `NAME:SPLIT` for another split than train."""
    from datasets import load_dataset  # noqa: PLC0415 - seconds, and only for names

    path, _, split = name.partition(":")
    require_there(shown(name), path, "a file, a folder or a dataset name")
    settle_hub(path)
    try:
        rows = load_dataset(path, split=split or DEFAULT_SPLIT)
    except Exception as error:
        todo = "Check the path, or write NAME:SPLIT for a dataset of the hub."
        got = f"neither a file nor a dataset ({type(error).__name__}: {str(error)[:200]})"
        raise WrongUse(name, got, "an input", todo) from error
    for number, row in enumerate(rows, 1):
        location = f"{name} row {number}"
        yield location, plain(row, location)


def split_of(source: str) -> tuple[str, str]:
    """(path, split) of `PATH:SPLIT`, where PATH names something and the whole does not.

    >>> split_of("no/such:thing")
    ('no/such:thing', '')
    """
    path, colon, split = source.rpartition(":")
    if (
        colon
        and split.isidentifier()
        and not Path(source).exists()
        and path
        and (is_remote(path) or Path(path).expanduser().is_dir())
    ):
        return path, split
    return source, ""


READERS: dict[str, Callable[[str, str], Rows]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
}
