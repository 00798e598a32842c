"""A teacher's top-k log-probabilities on disk: written once, found by a row's tokens, read in any
order through a memory map.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from finetune.core.json_files import write_json
from finetune.data.tokens import IGNORED, fingerprint
from finetune.teachers.top_k_codec import Layout, pack, unpack
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from finetune.core.arrays import TopIdArray, TopLogArray
    from finetune.core.tensors import Inputs

# A record: tokens, bytes, checksum of key and bytes, key.
_RECORD = struct.Struct("<IIi16s")
_DATA = "teacher.bin"
_INDEX = "teacher.idx"
_ABOUT = "teacher.json"

_TEACH = "Run `finetune teach` over these rows with this student's tokenizer and --max-length."


class Known(NamedTuple):
    """What a teacher says about the learnt tokens of a row: ids and natural log-probabilities, [N,
    k] each, ids ascending.

    An id with -inf is not known.
    """

    ids: TopIdArray
    logs: TopLogArray


def known_of(
    candidates: Sequence[Mapping[int, float]], k: int, size: int
) -> Known:
    """What a teacher says about the learnt tokens of a row, from {token: log-probability} of each;
    the k likeliest count.

    Args:
        candidates: of each learnt token; {} where nothing is known.
        k: entries of a token, 1 to `size`; ids of -inf fill up.
        size: of the vocabulary.
    """
    ids = np.empty((len(candidates), k), np.int64)
    logs = np.full((len(candidates), k), -np.inf, np.float32)
    for number, of_token in enumerate(candidates):
        best = sorted(of_token.items(), key=lambda pair: -pair[1])[:k]
        spare = (token for token in range(size) if token not in of_token)
        listed = [token for token, _ in best]
        ids[number] = [*listed, *islice(spare, k - len(listed))]
        logs[number, : len(best)] = [value for _, value in best]
    return Known(ids, logs)


@dataclass(frozen=True)
class About:
    """What a cache is of.

    Attributes:
        teacher: its name.
        vocabulary: size; ids are below it.
        k: entries of a token.
        tokenizer: digest of its tokens.
    """

    teacher: str
    vocabulary: int
    k: int
    tokenizer: str


class CacheWriter:
    """Appends rows to a folder; what is there already is kept, a record that a crash cut short is
    dropped.

    Args:
        folder: of the cache.
        about: must be that of what is there.

    Raises:
        WrongUse: the folder holds another teacher's words.
    """

    def __init__(self, folder: str | Path, about: About) -> None:
        self.folder = Path(folder)
        self.layout = Layout(about.vocabulary, about.k)
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / _ABOUT
        if note.is_file():
            _check_same(note, about)
        write_json(note, asdict(about))
        path = self.folder / _DATA
        path.touch()
        self.offsets, end = _scan(path)
        with path.open("r+b") as file:
            file.truncate(end)
        self.file = path.open("ab")

    def __contains__(self, key: bytes) -> bool:
        return key in self.offsets

    def add(self, key: bytes, entry: Known) -> None:
        """Appends a row, unless it is there."""
        if key in self.offsets:
            return
        data = pack(self.layout, entry.ids, entry.logs)
        self.offsets[key] = self.file.tell()
        self.file.write(
            _RECORD.pack(len(entry.ids), len(data), _checksum(key, data), key)
            + data
        )

    def close(self) -> None:
        """Makes everything durable and writes the index."""
        self.file.close()
        keys = sorted(self.offsets)
        table = np.zeros(len(keys), [("key", "V16"), ("place", "<u8")])
        table["key"], table["place"] = (
            [np.void(key) for key in keys],
            [self.offsets[key] for key in keys],
        )
        temporary = self.folder / (_INDEX + ".part")
        temporary.write_bytes(table.tobytes())
        temporary.replace(self.folder / _INDEX)

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_same(note: Path, about: About) -> None:
    """Refuses to add to what another teacher wrote."""
    try:
        earlier = json.loads(note.read_text(encoding="utf-8"))
        About(**earlier)
    except (ValueError, TypeError) as error:
        raise WrongUse(
            f"--output {note.parent}",
            f"{note.name} that cannot be read ({error})",
            "a folder of `finetune teach`, or an empty one",
            "Take another folder.",
        ) from error
    for name, value in asdict(about).items():
        if earlier.get(name) != value:
            raise WrongUse(
                f"--output {note.parent}",
                f"{name} = {earlier.get(name)!r}",
                f"{value!r}",
                "Take another folder.",
            )


class Cache:
    """Reads rows by their tokens; memory does not grow with the file.

    Args:
        folder: of `finetune teach`.

    Raises:
        WrongUse: no finished cache there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.about = About(
                **json.loads((self.folder / _ABOUT).read_text(encoding="utf-8"))
            )
            self.index = np.memmap(
                self.folder / _INDEX,
                [("key", "S16"), ("place", "<u8")],
                mode="r",
            )
            with (self.folder / _DATA).open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, TypeError) as error:
            todo = (
                "Write it with `finetune teach`; a run of it that was cut short goes on where "
                "it stopped."
            )
            raise WrongUse(
                f"--offline {folder}",
                f"no finished cache ({error})",
                "a folder of `finetune teach`",
                todo,
            ) from error
        self.layout = Layout(self.about.vocabulary, self.about.k)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, key: bytes) -> bool:
        return self._offset(key) is not None

    def require(self, rows: Sequence[Row]) -> None:
        """Refuses training rows of which one is not there, before any step.

        Raises:
            WrongUse: with how many are missing, and the first of them.
        """
        keys = [fingerprint(row["input_ids"], row["labels"]) for row in rows]
        missing = [number for number, key in enumerate(keys) if key not in self]
        if missing:
            first = rows[missing[0]]
            fault = (
                f"no row of these {len(first['input_ids'])} tokens (row {missing[0] + 1} of "
                f"--data; {len(missing):,} of {len(rows):,} rows)"
            )
            raise WrongUse(
                f"--offline {self.folder}", fault, "every training row", _TEACH
            )

    def read(self, ids: Sequence[int], labels: Sequence[int]) -> Known:
        """What the teacher said about a row.

        Raises:
            WrongUse: no such row, or one whose bytes have changed.
        """
        key = fingerprint(ids, labels)
        offset = self._offset(key)
        if offset is None:
            raise WrongUse(
                f"--offline {self.folder}",
                f"no row of these {len(ids)} tokens",
                "every training row",
                _TEACH,
            )
        count, size, checksum, stored = _RECORD.unpack_from(self.data, offset)
        data = self.data[offset + _RECORD.size : offset + _RECORD.size + size]
        if stored != key or checksum != _checksum(key, data):
            raise WrongUse(
                f"--offline {self.folder}",
                f"a damaged record at byte {offset}",
                "what was written",
                "Write the cache anew.",
            )
        return Known(*unpack(self.layout, count, data))

    def _offset(self, key: bytes) -> int | None:
        low = 0
        high = len(self.index)
        while low < high:
            middle = (low + high) // 2
            if self.index["key"][middle].ljust(16, b"\0") < key:
                low = middle + 1
            else:
                high = middle
        present = (
            low < len(self.index)
            and self.index["key"][low].ljust(16, b"\0") == key
        )
        return int(self.index["place"][low]) if present else None


def _checksum(key: bytes, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(key)) - 2**31


def _scan(path: Path) -> tuple[dict[bytes, int], int]:
    """Where each whole record begins, and where the last of them ends."""
    offsets: dict[bytes, int] = {}
    end = 0
    for at, key, stop in _records(path):
        offsets[key], end = at, stop
    return offsets, end


def _records(path: Path) -> Iterator[tuple[int, bytes, int]]:
    with path.open("rb") as file:
        while len(head := file.read(_RECORD.size)) == _RECORD.size:
            at = file.tell() - _RECORD.size
            _, size, checksum, key = _RECORD.unpack(head)
            data = file.read(size)
            if len(data) < size or checksum != _checksum(key, data):
                return
            yield at, key, file.tell()


def rows_of(
    batch: Inputs,
) -> Iterator[tuple[int, int, list[int], list[int]]]:
    """(row, first column, ids, labels) of every sequence of a batch, padded or packed
    (`position_ids` begin anew).
    """
    rows = zip(batch["input_ids"], batch["labels"], strict=True)
    for number, (ids, labels) in enumerate(rows):
        for start, end in _spans(batch, number, len(ids)):
            part = labels[start:end].tolist()
            # Padding of a packed row begins anew at each token, and has nothing to learn.
            if any(label != IGNORED for label in part[1:]):
                yield number, start, ids[start:end].tolist(), part


def _spans(batch: Inputs, row: int, length: int) -> list[tuple[int, int]]:
    """First column and the one behind the last, of each sequence of a row."""
    if batch.get("position_ids") is not None:
        positions = np.asarray(batch["position_ids"][row].cpu())
        starts = np.flatnonzero(positions == 0).tolist()
        return list(zip(starts, [*starts[1:], length], strict=True))
    real = np.flatnonzero(np.asarray(batch["attention_mask"][row].cpu()))
    return [(int(real[0]), int(real[-1]) + 1)]
