"""What a run has handed to a Batch API: `batches.jsonl` beside the journal, on the disk before
anything is uploaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from synth.core.records import Fields


@dataclass
class Pending:
    """A batch that may be under way.

    Attributes:
        name: ours.
        keys: of its requests, in their order.
        id: the provider's, where it is known.
        role: whose teacher it asks.
        provider: as in PROVIDER/MODEL.
        trace: what finds it again at the provider beside our name; None where a crash came first.
    """

    name: str
    keys: Sequence[str]
    id: str | None = None
    role: str = ""
    provider: str = "openai"
    trace: str | None = None

    def key_of(self, name: str) -> str:
        """The key of a request by its name within the batch: the key itself, or our name and a
        place.

        >>> Pending("b", ["k0", "k1"]).key_of("b-1"), Pending("b", []).key_of("k7")
        ('k1', 'k7')
        """
        ours, _, place = name.rpartition("-")
        if ours != self.name or not place.isdecimal():
            return name
        known = int(place) < len(self.keys)
        return self.keys[int(place)] if known else name


class BatchLog:
    """An append-only file of four words a batch: intent (with its keys), what finds it again,
    created (with the provider's id), done.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "batches.jsonl" if folder else None

    def pending(self) -> dict[str, Pending]:
        """Batches that are not done, by name; a torn last line says nothing."""
        batches: dict[str, Pending] = {}
        for record in self._records():
            name = record["batch"]
            if "keys" in record:
                batches[name] = Pending(
                    name,
                    record["keys"],
                    role=str(record.get("role") or ""),
                    provider=str(record.get("provider") or "openai"),
                )
            elif name in batches and "trace" in record:
                batches[name].trace = record["trace"]
            elif name in batches and "id" in record:
                batches[name].id = record["id"]
            elif name in batches:
                del batches[name]
        return batches

    def _records(self) -> list[Fields]:
        if self._path is None or not self._path.exists():
            return []
        out = []
        for line in self._path.read_bytes().splitlines():
            try:
                out.append(orjson.loads(line))
            except ValueError:
                continue
        return out

    def intent(self, batch: Pending) -> None:
        """These keys are about to be uploaded under this name."""
        self._append(
            {
                "batch": batch.name,
                "keys": list(batch.keys),
                "role": batch.role,
                "provider": batch.provider,
            }
        )

    def prepared(self, name: str, trace: str) -> None:
        """The batch is about to be created; `trace` finds it again."""
        self._append({"batch": name, "trace": trace})

    def created(self, name: str, id_: str) -> None:
        """The provider knows the batch as `id_`."""
        self._append({"batch": name, "id": id_})

    def done(self, name: str) -> None:
        """Every reply of the batch is journaled, or there never was such a batch."""
        self._append({"batch": name, "done": True})

    def _append(self, record: Fields) -> None:
        if self._path is None:
            return
        # A newline first: a line that a crash tore must not swallow this one.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            file.write(b"\n" + orjson.dumps(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())
