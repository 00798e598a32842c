"""Warm processes that answer one line of JSON with one line of JSON, and are ended when they take too long.

What may hang, grow or crash (computer algebra, a neural model) runs there; the caller gets None instead of a hang. A worker
ends by itself when whoever started it is gone, because its input ends.
"""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synth.errors import WrongUse


class Worker:
    """One process, started at the first question, again after it was ended.

    Args:
        words: what follows `python` on its command line.
        seconds: for one answer.
        start_seconds: for its first line, which is {"ready": true} or {"error": "..."}.
    """

    def __init__(self, *words: str, seconds: float = 2.0, start_seconds: float = 120.0) -> None:
        self.words, self.seconds, self.start_seconds = words, seconds, start_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, message: Any) -> Any:
        """The answer; None where it took too long or the process died of the question.

        Raises:
            WrongUse: the process cannot start.
        """
        process = self._process if self._process is not None and self._process.poll() is None else self._start()
        assert process.stdin is not None  # noqa: S101 - asked for as a pipe
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self.close()
            return None
        line = _line(process, self.seconds)
        if line is None:
            self.close()
        return None if line is None else json.loads(line)

    def _start(self) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(  # noqa: S603 - modules of this product
                [sys.executable, *self.words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
            self._process = process
            weakref.finalize(self, _end, process)
            said = json.loads(_line(process, self.start_seconds) or "{}")
            if "ready" not in said:
                self.close()
                errors.seek(0)
                last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2][-300:]
                todo = str(said.get("todo") or "Run that command by hand to see why.")
                raise WrongUse(f"python {' '.join(self.words)}", str(said.get("error") or last), "a process that is ready", todo)
        return process

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            _end(self._process)
            self._process = None


class Pool:
    """Several workers of one kind, asked side by side."""

    def __init__(self, size: int, *words: str, seconds: float = 2.0, start_seconds: float = 120.0) -> None:
        self.size = size
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(Worker(*words, seconds=seconds, start_seconds=start_seconds))

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


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """The next whole line, None where none comes in time."""
    assert process.stdout is not None  # noqa: S101 - asked for as a pipe
    deadline, parts = time.monotonic() + seconds, bytearray()
    while not parts.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        part = process.stdout.read1(1 << 20) if ready else b""  # type: ignore[attr-defined]
        if not part:
            return None
        parts += part
    return bytes(parts)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    process.wait()


def serve(answer: Any) -> None:
    """The worker's side: one line out for each line in, until the input ends; prints of libraries go to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    out.write('{"ready": true}\n')
    out.flush()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        out.write(json.dumps(answer(json.loads(lines.get()))) + "\n")
        out.flush()


def _read(lines: queue.SimpleQueue[str]) -> None:
    """Hands lines over; their end is the starter's, and this process's too, whatever it is computing."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)
