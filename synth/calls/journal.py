r"""Every reply, durable before anything parses it: an append-only file of checksummed lines.

One record is one line of text, readable with `less` while it grows:

    <crc32, 8 hex> <key, 64 hex> <prompt tokens> <completion tokens> <cached> <reasoning> <usd> <raw
    reply JSON>\n

With a budget, a line whose place of the reply holds `-` says that a call is about to go out, `!`
that it came to nothing. The checksum covers everything behind it. A line without its newline or
with another checksum is torn: at the end of the file it is cut off on opening (it was never
acknowledged), elsewhere it is passed over and counted. Each turn of the event loop makes one
`write`, after which kill -9 loses nothing; whatever arrives within 5 ms shares one `fdatasync`,
made in a thread, after which a power cut loses nothing and the reply is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import BinaryIO

from synth.calls.journal_index import Index
from synth.core.errors import Stopped, WrongUse
from synth.core.records import Completion
from synth.processes.file_lock import InUse, locked

GROUP_SECONDS = 0.005
_KEY = slice(9, 73)
# Records whose mean length foretells how many there are.
_FIRST = 1000
# What stands in the place of a reply: "about to be asked", and "came to nothing".
_INTENT = b"-"
_NO_REPLY = b"!"
# In, out, cached, reasoning.
Tokens = tuple[int, int, int, int]
_NOTHING: Tokens = (0, 0, 0, 0)


@dataclass(slots=True)
class Totals:
    """Sums over journaled replies; `unknown` calls were under way when a run died, their worst case
    is in `usd`.
    """

    replies: int = 0
    unknown: int = 0
    usd: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, tokens: Tokens, usd: float) -> None:
        """Counts one reply."""
        self.replies += 1
        self.usd += usd
        self.prompt_tokens += tokens[0]
        self.completion_tokens += tokens[1]
        self.cached_tokens += tokens[2]
        self.reasoning_tokens += tokens[3]

    def join(self, other: Totals) -> None:
        """Counts all that another journal holds."""
        for item in fields(self):
            both = getattr(self, item.name) + getattr(other, item.name)
            setattr(self, item.name, both)


class Group:
    """Records that go to the disk together, and the calls that wait for it."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False

    def written(self) -> asyncio.Future[None]:
        """What ends once the group is on the disk, or the disk refused it; one for each caller."""
        waiter = asyncio.get_running_loop().create_future()
        if self._ended:
            waiter.set_result(None)
        else:
            self._waiters.append(waiter)
        return waiter

    def end(self) -> None:
        """Wakes all who wait."""
        self._ended = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Journal:
    """The replies of one run folder (`DIR/journal`), or of memory alone where no folder is given.

    Args:
        folder: where it is, or is to be.
        writable: without it nothing is locked, cut or booked.
        under_way: keys whose fate the provider knows (they are in a batch): not to be booked as
            spent.

    Raises:
        WrongUse: another run holds the folder.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        writable: bool = True,
        under_way: Collection[str] = (),
    ) -> None:
        self.totals = Totals()
        self.torn = 0
        self.others = list[Journal]()
        self._index = Index()
        self._waiting: list[bytes] = []
        self._batch: Group | None = None
        self._previous: Group | None = None
        self._broken: Stopped | None = None
        self._under_way = under_way
        self._commit_task: asyncio.Task[None] | None = None
        self._lock = _lock(folder) if folder and writable else None
        self._file = (
            _open(folder / "replies.log", writable=writable) if folder else None
        )
        self._memory: dict[str, bytes] = {}
        self._end = self._load(writable=writable) if self._file else 0

    def _load(self, *, writable: bool) -> int:
        """Indexes what is there; cuts a torn tail off and books calls of unknown fate. Returns the
        end of the file.
        """
        assert self._file is not None  # noqa: S101 - the caller checked
        end = offset = 0
        intents: dict[str, float] = {}
        self._file.seek(0)
        size = os.fstat(self._file.fileno()).st_size
        for number, line in enumerate(self._file, 1):
            start = offset
            offset = offset + len(line)
            if number == _FIRST:
                self._index.expect(size * number // offset)
            if _whole(line):
                self._take(line, start, intents)
                end = offset
            else:
                self.torn += 1
        if writable:
            if end < offset:
                self._file.truncate(end)
            end += self._book(
                {
                    key: usd
                    for key, usd in intents.items()
                    if key not in self._under_way
                }
            )
        return end

    def _take(self, line: bytes, start: int, intents: dict[str, float]) -> None:
        """One whole record: a reply, the intent to ask for one, or the end of an intent that
        brought none.
        """
        key, numbers, usd, raw = _fields(line)
        if raw == _INTENT:
            intents[key] = usd
            return
        if intents:
            intents.pop(key, None)
        if raw == _NO_REPLY:
            self.totals.usd += usd
        else:
            self._index.add(key, start)
            self.totals.add(numbers, usd)

    def _book(self, intents: dict[str, float]) -> int:
        """Calls that were under way when the last run died may have been billed: they count as
        spent, once and for good.
        """
        lines = b"".join(
            _record(key, _NOTHING, usd, _NO_REPLY)
            for key, usd in intents.items()
        )
        self.totals.usd += sum(intents.values())
        self.totals.unknown += len(intents)
        if lines and self._file is not None:
            os.write(self._file.fileno(), lines)
        return len(lines)

    def __len__(self) -> int:
        return self._index.count + len(self._memory)

    def get(self, key: str) -> bytes | None:
        """The raw reply of a key, or None."""
        if self._file is None:
            return self._memory.get(key)
        replies: list[bytes] = []
        self._index.get(key, lambda offset: self._is(key, offset, replies))
        return replies[0] if replies else None

    async def borrowed(self, key: str) -> bytes | None:
        """The raw reply of a key in another run's journal, copied into this one; or None."""
        for other in self.others:
            raw = other.get(key)
            if raw is not None:
                await self.append(key, raw, Completion(""))
                return raw
        return None

    def _is(self, key: str, offset: int, replies: list[bytes]) -> bool:
        line = self._line(offset)
        if line[_KEY] != key.encode():
            return False
        replies.append(line[9:-1].split(b" ", 6)[6])
        return True

    def _line(self, offset: int) -> bytes:
        assert self._file is not None  # noqa: S101 - only called with a file
        size = 4096
        parts = b""
        while True:
            more = os.pread(self._file.fileno(), size, offset + len(parts))
            parts += more
            end = parts.find(b"\n")
            if end >= 0 or not more:
                return parts[: end + 1]
            size *= 4

    def expect(self, replies: int) -> None:
        """Makes room for so many replies more, so that the index need not grow a little at a
        time.
        """
        self._index.expect(replies)

    async def append(
        self, key: str, raw: bytes, completion: Completion, usd: float = 0.0
    ) -> None:
        """Returns once the reply is on the disk.

        Raises:
            Stopped: the disk refused it (full, gone); everything acknowledged before is safe.
        """
        self.add(key, raw, completion, usd)
        await self.on_disk()

    def add(
        self, key: str, raw: bytes, completion: Completion, usd: float = 0.0
    ) -> None:
        """Takes a reply, which goes to the system at the end of this turn of the loop, before
        whatever is woken after this call.
        """
        tokens = _tokens(completion)
        self.totals.add(tokens, usd)
        if self._file is None:
            self._memory[key] = raw
            return
        self._index.add(key, self._end)
        self._queue(_record(key, tokens, usd, raw))

    async def on_disk(self) -> None:
        """Waits until all that was taken is on the disk.

        Raises:
            Stopped: the disk refused it.
        """
        if self._file is None:
            return
        if self._batch is None:
            self._batch = Group()
            self._commit_task = asyncio.create_task(self._commit(self._batch))
        await self._batch.written()
        if self._broken:
            raise self._broken

    def intend(self, key: str, usd: float) -> None:
        """Notes, before a call, what it may cost; without a reply or `no_reply` behind it, that
        counts as spent after a crash.
        """
        if self._file is not None:
            self._queue(_record(key, _NOTHING, usd, _INTENT))

    def no_reply(self, key: str, usd: float) -> None:
        """Notes that an intended call brought no reply, and what is booked for it."""
        self.totals.usd += usd
        if self._file is not None:
            self._queue(_record(key, _NOTHING, usd, _NO_REPLY))

    def _queue(self, line: bytes) -> None:
        """Hands a line to the system at the end of this turn of the loop."""
        self._end += len(line)
        self._waiting.append(line)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        """Hands what this turn of the loop brought to the system: from here on a killed process
        loses nothing of it.
        """
        assert self._file is not None  # noqa: S101 - only called with a file
        view = memoryview(b"".join(self._waiting))
        self._waiting = []
        try:
            while view and not self._broken:
                view = view[os.write(self._file.fileno(), view) :]
        except OSError as error:
            self._break(error)

    async def _commit(self, batch: Group) -> None:
        """Puts a group on the disk; the next group gathers while the disk works."""
        previous = self._previous
        await asyncio.sleep(GROUP_SECONDS)
        if previous is not None:
            await previous.written()
        self._batch = None
        self._previous = batch
        try:
            if self._waiting:
                self._write()
            if self._file is not None and not self._broken:
                await asyncio.to_thread(os.fdatasync, self._file.fileno())
        except OSError as error:
            self._break(error)
        finally:
            batch.end()

    def _break(self, error: OSError) -> None:
        self._broken = Stopped(
            "disk",
            f"{error.strerror or error} while writing the journal; free space and run again",
        )

    async def close(self) -> None:
        """Waits for the last group and lets go of the folder."""
        if self._batch is not None:
            await self._batch.written()
        elif self._previous is not None:
            await self._previous.written()
        self.release()

    def release(self) -> None:
        """Closes the files and frees the folder for others."""
        for file in (self._file, self._lock):
            if file is not None:
                file.close()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps all others from writing into a run's folder meanwhile.

    Raises:
        WrongUse: another process holds it.
    """
    journal = Journal(folder)
    try:
        yield
    finally:
        journal.release()


def _open(path: Path, *, writable: bool) -> BinaryIO:
    if not writable and not path.is_file():
        raise WrongUse(
            str(path),
            "no journal",
            "the folder of an earlier run",
            "Check the path.",
        )
    fd = os.open(
        path,
        os.O_RDWR | os.O_CREAT | os.O_APPEND if writable else os.O_RDONLY,
        0o600,
    )
    return os.fdopen(fd, "r+b" if writable else "rb", buffering=1 << 20)


def _record(key: str, tokens: Tokens, usd: float, raw: bytes) -> bytes:
    """One line of the file."""
    prompt, reply, cached, reasoning = tokens
    numbers = f" {prompt} {reply} {cached} {reasoning} {usd:.9g} "
    body = key.encode() + numbers.encode() + raw
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _lock(folder: Path) -> BinaryIO:
    """Keeps all others from writing into a run's folder, until it is closed.

    Raises:
        WrongUse: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return locked(folder / "lock")
    except InUse as error:
        raise in_progress(folder, error) from error


def in_progress(place: Path, error: InUse) -> WrongUse:
    """Says that a run holds a folder."""
    return WrongUse(
        str(place),
        f"a run in progress (process {error.holder})",
        "a folder that no run holds",
        "Wait for it, stop it, or give another --output.",
    )


def _whole(line: bytes) -> bool:
    """Whether a line is a complete record with the right checksum."""
    try:
        return line[-1:] == b"\n" and int(line[:8], 16) == zlib.crc32(
            memoryview(line)[9:-1]
        )
    except ValueError:
        return False


def _tokens(completion: Completion) -> Tokens:
    c = completion
    return (
        c.prompt_tokens,
        c.completion_tokens,
        c.cached_tokens,
        c.reasoning_tokens,
    )


def _fields(line: bytes) -> tuple[str, tuple[int, int, int, int], float, bytes]:
    """(key, tokens in / out / cached / reasoning, dollars, raw reply) of a whole line."""
    key, prompt, reply, cached, reasoning, usd, raw = line[9:-1].split(b" ", 6)
    return (
        key.decode(),
        (int(prompt), int(reply), int(cached), int(reasoning)),
        float(usd),
        raw,
    )


def records(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(key, raw reply) of every whole record of a journal, also while another process writes it."""
    with (folder / "replies.log").open("rb") as file:
        for line in file:
            if _whole(line):
                key, _, _, raw = _fields(line)
                if raw not in (_INTENT, _NO_REPLY):
                    yield key, raw
