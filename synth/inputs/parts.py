"""An input in parts: each seed stands in the part that the hash of its id names, so that many
processes share an input out, and none of them reads all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from synth.core.errors import WrongUse
from synth.core.records import Fields, Seed
from synth.inputs.seeds import Seeds, json_line, read_line
from synth.inputs.values import Base64

# The field that says where a seed stood in the whole input, counted from 0.
POSITION = "input_position"
# JSON has no bytes and no infinite number: an object with one such key stands for them.
_BASE64 = "\0base64"
_NUMBER = "\0number"
_OBJECT = "\0object"
# Bytes that wait before they are shared out.
_HELD = 1 << 26
_TAGS = frozenset({_BASE64, _NUMBER, _OBJECT})


class Part(NamedTuple):
    """A part as it was written: how many seeds, and the sha256 of its file."""

    rows: int
    sha256: str


def part_of(seed_id: str, parts: int) -> int:
    """The part of so many that a seed belongs to; its place in the input plays no role.

    >>> [part_of(name, 4) for name in ("a", "b", "c", "d")]
    [2, 2, 2, 1]
    """
    digest = hashlib.sha256(seed_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % parts


def part_file(folder: Path, part: int) -> Path:
    """Where the seeds of a part lie."""
    return folder / f"{part:05d}.jsonl"


def write_parts(seeds: Seeds, folder: Path, parts: int) -> list[Part]:
    """Writes every seed into its part.

    Raises:
        WrongUse: the input has a column of the name under which the places are written.
    """
    folder.mkdir(parents=True)
    counts = [0] * parts
    digests = [hashlib.sha256() for _ in range(parts)]
    waiting: list[list[bytes]] = [[] for _ in range(parts)]
    held = 0
    for position, seed in enumerate(seeds):
        if POSITION in seed.fields:
            raise WrongUse(
                seeds.where,
                f"a column {POSITION!r}",
                "no column of that name: shards write it",
                f"Give it another name: --column position={POSITION}.",
            )
        part = part_of(seed.id, parts)
        row = {name: _packed(value) for name, value in seed.fields.items()}
        line = json_line({"position": position, "id": seed.id, "row": row})
        waiting[part].append(line)
        counts[part] += 1
        digests[part].update(line)
        held += len(line)
        if held >= _HELD:
            _append(folder, waiting)
            held = 0
    _append(folder, waiting)
    made = zip(counts, digests, strict=True)
    return [Part(rows, digest.hexdigest()) for rows, digest in made]


def _append(folder: Path, waiting: list[list[bytes]]) -> None:
    """Writes what waits for each part; so many parts as a machine may not open files are no
    matter.
    """
    for part, lines in enumerate(waiting):
        with part_file(folder, part).open("ab") as file:
            file.writelines(lines)
        lines.clear()


class PartSeeds(Seeds):
    """The seeds of one part, with the place of each in the whole input.

    Args:
        file: one that `write_parts` wrote.
        where: what the whole input is called.
        rename: maps input columns to names of the pack; the seeds have the new names already.
    """

    def __init__(
        self, file: Path, where: str, rename: Mapping[str, str]
    ) -> None:
        super().__init__([], rename=rename)
        self.where = where
        self.file = file

    def __iter__(self) -> Iterator[Seed]:
        for _, seed in self._seeds():
            yield seed

    def rows(self) -> Iterator[tuple[str, Fields]]:
        """(place, row) pairs."""
        for location, seed in self._seeds():
            yield location, dict(seed.fields)

    def _seeds(self) -> Iterator[tuple[str, Seed]]:
        with self.file.open("rb") as file:
            for number, text in enumerate(file, 1):
                location = f"{self.file}:{number}"
                yield location, _seed(text, location)


def _seed(text: bytes, location: str) -> Seed:
    """The seed of a line."""
    try:
        line = read_line(text)
        row = {name: _unpacked(value) for name, value in line["row"].items()}
        return Seed(str(line["id"]), row, int(line["position"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongUse(
            location,
            f"a broken line ({error!r})"[:200],
            "a seed that `synth run --shards` wrote",
            "Plan the shards again: the same command with --shards and without --shard.",
        ) from error


def _packed(value: Any) -> Any:
    """A value as JSON holds it; `_unpacked` gives it back."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is Base64:
        return {_BASE64: str(value)}
    if kind is float:
        return value if isfinite(value) else {_NUMBER: repr(value)}
    if kind is list:
        return [_packed(element) for element in value]
    packed = {name: _packed(inner) for name, inner in value.items()}
    return {_OBJECT: packed} if _TAGS & packed.keys() else packed


def _unpacked(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_unpacked(element) for element in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name == _BASE64:
            return Base64(inner)
        if name == _NUMBER:
            return float(inner)
        if name == _OBJECT:
            value = inner
    return {name: _unpacked(inner) for name, inner in value.items()}
