"""Warm processes that answer one line of JSON with one line of JSON, and are ended when they take
too long.

What may hang, grow or crash (computer algebra, a neural model) runs there; the caller gets None
instead of a hang. A worker ends with whoever started it (`synth.processes.leash`).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.processes import leash

# A killed process is gone in milliseconds, unless the kernel itself waits for a device.
_GONE_SECONDS = 5.0
# Bytes of one answer: vectors of 256 texts are a hundredth of this.
_LONGEST = 256 * 1024 * 1024


class Worker:
    """One process, started at the first question, again after it was ended.

    Args:
        words: what follows `python` on its command line.
        seconds: for one answer.
        start_seconds: for its first line, which is {"ready": true} or {"error": "..."}.
    """

    def __init__(
        self, *words: str, seconds: float = 2.0, start_seconds: float = 120.0
    ) -> None:
        self.words = words
        self.seconds = seconds
        self.start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, message: Any) -> Any:
        """The answer; None where it took too long or the process died of the question.

        Raises:
            WrongUse: the process cannot start.
        """
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        deadline = time.monotonic() + self.seconds
        answer = None
        try:
            if _sent(process, json.dumps(message).encode() + b"\n", deadline):
                answer = _decoded(_line(process, deadline))
        finally:
            # Also when Ctrl-C comes in between: the late answer would be taken for the next one.
            if answer is None:
                self.close()
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile() as errors:
            process = leash.start(
                *self.words,
                stdin=pipe,
                stdout=pipe,
                stderr=errors,
                bufsize=0,
            )
            self._process = process
            weakref.finalize(self, _end, process)
            greeting = self._first_words(process)
            if "ready" in greeting:
                return process
            self.close()
            last = str(greeting.get("error") or _last_line(errors))
            todo = str(
                greeting.get("todo") or "Run that command by hand to see why."
            )
            where = f"python {' '.join(self.words)}"
            raise WrongUse(where, last, "a process that is ready", todo)

    def _first_words(self, process: subprocess.Popen[bytes]) -> Fields:
        """What it says of itself; prints of libraries before that are passed over."""
        deadline = time.monotonic() + self.start_seconds
        try:
            while (line := _line(process, deadline)) is not None:
                message = _decoded(line)
                if isinstance(message, dict) and message.keys() & {
                    "ready",
                    "error",
                }:
                    return message
        except BaseException:
            self.close()
            raise
        late = time.monotonic() >= deadline
        if late:
            return {"error": f"not ready within {self.start_seconds:g} s"}
        return {}

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            _end(self._process)
            self._process = None


class Pool:
    """Several workers of one kind, asked side by side."""

    def __init__(
        self,
        size: int,
        *words: str,
        seconds: float = 2.0,
        start_seconds: float = 120.0,
    ) -> None:
        self.size = size
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(
                Worker(*words, seconds=seconds, start_seconds=start_seconds)
            )

    def close(self) -> None:
        """Ends the processes that answer nothing just now."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def ask(self, message: Any) -> Any:
        """What `Worker.ask` of the next free worker says."""
        worker = self._idle.get()
        try:
            return worker.ask(message)
        finally:
            self._idle.put(worker)

    def map(self, messages: Iterable[Any]) -> list[Any]:
        """The answers, in order."""
        with ThreadPoolExecutor(self.size) as threads:
            return list(threads.map(self.ask, messages))


def _ready(pipe: IO[bytes], event: int, deadline: float) -> bool:
    """Whether a pipe can be used before the deadline; descriptors may have any number."""
    poll = select.poll()
    poll.register(pipe, event)
    return bool(poll.poll(1000 * max(0.0, deadline - time.monotonic())))


def _sent(
    process: subprocess.Popen[bytes], data: bytes, deadline: float
) -> bool:
    """Whether a process has taken the data in time; one that does not read takes a pipe's worth."""
    pipe = process.stdin
    left = memoryview(data)
    assert pipe is not None  # noqa: S101 - asked for as a pipe
    os.set_blocking(pipe.fileno(), False)
    while left:
        if not _ready(pipe, select.POLLOUT, deadline):
            return False
        try:
            left = left[os.write(pipe.fileno(), left) :]
        except BrokenPipeError:
            return False
    return True


def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """What comes next, to the end of a line; None where none comes in time, or no end."""
    assert process.stdout is not None  # noqa: S101 - asked for as a pipe
    parts = bytearray()
    while not parts.endswith(b"\n"):
        ready = _ready(process.stdout, select.POLLIN, deadline)
        part = os.read(process.stdout.fileno(), 1 << 20) if ready else b""
        parts += part
        if not part or len(parts) > _LONGEST:
            return None
    return bytes(parts)


def _decoded(lines: bytes | None) -> Any:
    """The value of the last line; None where there is none or it is no JSON."""
    with contextlib.suppress(ValueError):
        return json.loads(lines.splitlines()[-1]) if lines else None
    return None


def _last_line(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 10_000))
    return (
        file.read()
        .decode("utf-8", "replace")
        .strip()
        .rpartition("\n")[2][-300:]
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GONE_SECONDS)


def serve(answer: Any, *, confine: Callable[[], None] | None = None) -> None:
    """The worker's side: one line out for each line in, until the input ends.

    What libraries print while it answers goes nowhere, or to a terminal where there is one:
    it must neither get between the answers nor fill a disk.

    Args:
        answer: a message to its answer, both JSON values.
        confine: called once before the worker says that it is ready; may take away every right but
            to compute and to use what is open.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.dup(2) if os.isatty(2) else os.open(os.devnull, os.O_WRONLY)
    if confine is not None:
        confine()
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    out.write('{"ready": true}\n')
    out.flush()
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()
