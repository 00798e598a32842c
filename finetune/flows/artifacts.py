"""What stages leave and read: rows, models, teachers, each with a mark of all that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.flows.schema import Part
from synth.core.errors import WrongUse
from synth.core.records import canonical_json
from synth.inputs.seeds import read_rows, whole_file, write_jsonl
from synth.runs.ownership import digest, digests

# Files of a model that are hashed whole; of larger ones the size and the time do.
_MOST_HASHED = 1 << 20
_DIGITS = 16  # of a mark


class Artifact(NamedTuple):
    """Something that a stage reads.

    Attributes:
        kind: rows, a model, a teacher or a number.
        where: a path, a name of a hub, a teacher's PROVIDER/MODEL, or the number as text.
        mark: a hash of what it is, or of all that made it.
        part: of a run's folder, `data` or `dropped`.
    """

    kind: Part
    where: str
    mark: str
    part: str = ""

    def record(self) -> list[str]:
        """As JSON keeps it."""
        return list(self)


def mark_of(value: Any) -> str:
    """16 hex digits of a value that JSON can hold."""
    return _digits(hashlib.sha256(canonical_json(value)).hexdigest())


def given_rows(source: str) -> Artifact:
    """A file of the user's: its mark is that of its bytes. A run's folder is its kept rows.

    Raises:
        WrongUse: nothing stands there.
    """
    source = rows.there(source)
    path = Path(source)
    if rows.is_run(path):
        files = [content for _, content in _contents(path / "data")]
        return Artifact("rows", source, mark_of(files), "data")
    if path.is_dir():
        # A folder of files: what stands in it, wherever it stands.
        return Artifact("rows", source, mark_of(_contents(path)))
    mark = _digits(digest(path)) if path.is_file() else mark_of(source)
    return Artifact("rows", source, mark)


def _contents(folder: Path) -> list[list[str]]:
    """(path, hash) of each file in a folder."""
    files = sorted(digests(folder).items())
    return [[name, _digits(content)] for name, content in files]


def _digits(content: str) -> str:
    """As many digits of a hash as a mark has."""
    return content[:_DIGITS]


def given_model(name: str) -> Artifact:
    """A model of the user's: a folder's mark is that of its files, a name's is the name."""
    path = Path(name)
    if not path.is_dir():
        return Artifact("model", name, mark_of(name))
    facts = [
        [file.name, *_facts(file)]
        for file in sorted(path.iterdir())
        if file.is_file()
    ]
    return Artifact("model", name, mark_of(facts))


def _facts(file: Path) -> list[str | int]:
    """What tells a model's file from another one."""
    status = file.stat()
    if status.st_size <= _MOST_HASHED:
        return [_digits(digest(file))]
    return [status.st_size, status.st_mtime_ns]


def rows_of(artifact: Artifact) -> Iterator[JsonObject]:
    """The rows, one by one."""
    if artifact.part:
        for row in rows.load(artifact.where, artifact.part):
            yield dict(row)
        return
    for row in read_rows(artifact.where):
        yield dict(row)


def joined(artifacts: Sequence[Artifact], folder: Path) -> Artifact:
    """Several rows one behind the other, in a file of `folder`; a single one as it is."""
    if len(artifacts) == 1:
        return artifacts[0]
    mark = mark_of([artifact.mark for artifact in artifacts])
    path = _written(artifacts, mark, folder)
    return Artifact("rows", path, mark)


def as_file(artifact: Artifact, folder: Path) -> str:
    """A path that commands read: dropped rows of a run stand in a file of `folder`."""
    if artifact.part != "dropped":
        return artifact.where
    return _written([artifact], artifact.mark, folder)


def as_lines(artifact: Artifact, folder: Path) -> str:
    """A file of rows, which a pack can look things up in; those of a folder stand in a file of
    `folder`.
    """
    if Path(artifact.where).is_file():
        return artifact.where
    return _written([artifact], artifact.mark, folder)


def _written(artifacts: Sequence[Artifact], mark: str, folder: Path) -> str:
    """A file of `folder` with the rows, which is written once."""
    path = folder / f"{mark}.jsonl"
    if not path.is_file():
        write_jsonl(
            path, (row for artifact in artifacts for row in rows_of(artifact))
        )
    return str(path)


def put_text(path: Path, text: str) -> None:
    """Writes a file that appears whole."""
    with whole_file(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


class Result(NamedTuple):
    """What a stage left.

    Attributes:
        mark: of the stage and of all that it read.
        folder: where it stands, relative to the flow's folder.
        parts: name -> what others read.
        measures: name -> number.
        facts: what is told of it.
        seconds: that it took, all tries together but for those that were killed.
    """

    mark: str
    folder: str
    parts: Mapping[str, Artifact]
    measures: Mapping[str, float]
    facts: JsonObject
    seconds: float

    def part(self, name: str, where: str) -> Artifact:
        """One of its parts, or a measure.

        Raises:
            WrongUse: it left no such thing.
        """
        if name in self.parts:
            return self.parts[name]
        if name in self.measures:
            value = self.measures[name]
            return Artifact("number", repr(value), mark_of(value))
        left = ", ".join([*self.parts, *self.measures])
        raise WrongUse(
            where, f"no {name!r} among what the stage left", left, "Name one."
        )

    def write(self, path: Path, output: Path) -> None:
        """Keeps it; the file appears whole. Paths in it lead on from the flow's folder `output`,
        which may be moved, or named from elsewhere.
        """
        parts = {}
        for name, part in self.parts.items():
            inside = Path(part.where).relative_to(output)
            parts[name] = part._replace(where=inside.as_posix()).record()
        content = {**self._asdict(), "parts": parts}
        put_text(path, json.dumps(content, indent=1, ensure_ascii=False))

    @classmethod
    def read(cls, path: Path, output: Path) -> Result | None:
        """What was kept by a flow whose folder is `output` now; None where nothing was."""
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, record in content["parts"].items():
            part = Artifact(*record)
            content["parts"][name] = part._replace(
                where=str(output / part.where)
            )
        return cls(**content)
