r"""Every reply, durable before anything parses it: an append-only file of checksummed lines.

One record is one line of text, readable with `less` while it grows:

    <crc32, 8 hex> <key, 64 hex> <prompt tokens> <completion tokens> <cached> <reasoning> <usd> <raw reply JSON>\n

The checksum covers everything behind it. A line without its newline or with another checksum is torn: at
the end of the file it is cut off on opening (it was never acknowledged), elsewhere it is passed over and counted.
Each turn of the event loop makes one `write`, after which kill -9 loses nothing; whatever arrives within 5 ms
shares one `fdatasync`, made in a thread, after which a power cut loses nothing and the reply is acknowledged.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from synth.calls.index import Index
from synth.errors import Stopped, WrongUse
from synth.records import Completion

GROUP_SECONDS = 0.005
_KEY = slice(9, 73)


@dataclass(slots=True)
class Totals:
    """Sums over journaled replies."""

    replies: int = 0
    usd: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, completion: Completion, usd: float) -> None:
        """Counts one reply."""
        self.replies += 1
        self.usd += usd
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.cached_tokens += completion.cached_tokens
        self.reasoning_tokens += completion.reasoning_tokens


class Journal:
    """The replies of one run folder (`DIR/journal`), or of memory alone where no folder is given.

    Raises:
        WrongUse: another run holds the folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self.totals, self.torn = Totals(), 0
        self._index = Index()
        self._waiting: list[bytes] = []
        self._batch: asyncio.Event | None = None
        self._broken: Stopped | None = None
        self._commit_task: asyncio.Task[None] | None = None
        self._lock = _lock(folder) if folder else None
        self._file = _open(folder / "replies.log") if folder else None
        self._memory: dict[str, bytes] = {}
        self._end = self._load() if self._file else 0

    def _load(self) -> int:
        """Indexes what is there; cuts a torn tail off. Returns the end of the last whole record."""
        assert self._file is not None  # noqa: S101 - the caller checked
        end = offset = 0
        self._file.seek(0)
        for line in self._file:
            start, offset = offset, offset + len(line)
            if not _whole(line):
                self.torn += 1
                continue
            key, completion, usd, _ = _fields(line)
            self._index.add(key, start)
            self.totals.add(completion, usd)
            end = offset
        if end < offset:
            self._file.truncate(end)
        return end

    def __len__(self) -> int:
        return self._index.count + len(self._memory)

    def get(self, key: str) -> bytes | None:
        """The raw reply of a key, or None."""
        if self._file is None:
            return self._memory.get(key)
        found: list[bytes] = []
        self._index.get(key, lambda offset: self._is(key, offset, found))
        return found[0] if found else None

    def _is(self, key: str, offset: int, found: list[bytes]) -> bool:
        line = self._line(offset)
        if line[_KEY] != key.encode():
            return False
        found.append(_fields(line)[3])
        return True

    def _line(self, offset: int) -> bytes:
        assert self._file is not None  # noqa: S101 - only called with a file
        size, parts = 4096, b""
        while True:
            more = os.pread(self._file.fileno(), size, offset + len(parts))
            parts += more
            end = parts.find(b"\n")
            if end >= 0 or not more:
                return parts[: end + 1]
            size *= 4

    async def append(self, key: str, raw: bytes, completion: Completion, usd: float = 0.0) -> None:
        """Returns once the reply is on the disk.

        Raises:
            Stopped: the disk refused it (full, gone); everything acknowledged before is safe.
        """
        self.totals.add(completion, usd)
        if self._file is None:
            self._memory[key] = raw
            return
        c = completion
        numbers = f" {c.prompt_tokens} {c.completion_tokens} {c.cached_tokens} {c.reasoning_tokens} {usd:.9g} "
        body = key.encode() + numbers.encode() + raw
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        self._index.add(key, self._end)
        self._end += len(line)
        self._waiting.append(line)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._write)
        if self._batch is None:
            self._batch = asyncio.Event()
            self._commit_task = asyncio.create_task(self._commit(self._batch))
        await self._batch.wait()
        if self._broken:
            raise self._broken

    def _write(self) -> None:
        """Hands what this turn of the loop brought to the system: from here on a killed process loses nothing of it."""
        assert self._file is not None  # noqa: S101 - only called with a file
        view, self._waiting = memoryview(b"".join(self._waiting)), []
        try:
            while view and not self._broken:
                view = view[os.write(self._file.fileno(), view) :]
        except OSError as error:
            self._break(error)

    async def _commit(self, batch: asyncio.Event) -> None:
        """Puts a group on the disk; the next group gathers while the disk works."""
        previous = self._previous
        await asyncio.sleep(GROUP_SECONDS)
        if previous is not None:
            await previous.wait()
        self._batch, self._previous = None, batch
        try:
            if self._waiting:
                self._write()
            if self._file is not None and not self._broken:
                await asyncio.to_thread(os.fdatasync, self._file.fileno())
        except OSError as error:
            self._break(error)
        finally:
            batch.set()

    def _break(self, error: OSError) -> None:
        self._broken = Stopped("disk", f"{error.strerror or error} while writing the journal; free space and run again")

    _previous: asyncio.Event | None = None

    async def close(self) -> None:
        """Waits for the last group and lets go of the folder."""
        if self._batch is not None:
            await self._batch.wait()
        elif self._previous is not None:
            await self._previous.wait()
        self.release()

    def release(self) -> None:
        """Closes the files and frees the folder for others."""
        for file in (self._file, self._lock):
            if file is not None:
                file.close()


def _open(path: Path) -> BinaryIO:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(fd, "r+b", buffering=1 << 20)


def _lock(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("a+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read(32).decode() or "unknown"
        todo = "Wait for it, stop it, or give another --output."
        raise WrongUse(str(folder), f"a run in progress (process {holder})", "a folder that no run holds", todo) from error
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()
    return lock


def _whole(line: bytes) -> bool:
    """Whether a line is a complete record with the right checksum."""
    try:
        return line[-1:] == b"\n" and int(line[:8], 16) == zlib.crc32(memoryview(line)[9:-1])
    except ValueError:
        return False


def _fields(line: bytes) -> tuple[str, Completion, float, bytes]:
    key, prompt, completion, cached, reasoning, usd, raw = line[9:-1].split(b" ", 6)
    counted = Completion(
        "",
        prompt_tokens=int(prompt),
        completion_tokens=int(completion),
        cached_tokens=int(cached),
        reasoning_tokens=int(reasoning),
    )
    return key.decode(), counted, float(usd), raw


def records(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(key, raw reply) of every whole record of a journal, also while another process writes it."""
    with (folder / "replies.log").open("rb") as file:
        for line in file:
            if _whole(line):
                key, _, _, raw = _fields(line)
                yield key, raw
