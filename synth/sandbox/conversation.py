"""The outer side of a confined process: sends a program and its tests, reads, counts threads."""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from synth.sandbox import jail

# What the kernel tells about a call that waits (80 bytes), and the answer to it (24 bytes).
_RECEIVE = 0xC0502100
_ANSWER = 0xC0182101
_QUESTION_SIZE = 80
_GO_ON = 1
_WORD = 16  # bytes
_BUSY = 1000  # turns of reading and answering after which a program is served once a millisecond
_FOLDER = str(Path(__file__).parent)
_PATH = f"import sys; sys.path.insert(0, {_FOLDER!r})"
_START = f"{_PATH}; import python_inside; del sys.path[0]; python_inside.main()"


class Talk:
    """One program: `hold` runs it to its end, its deadline or a limit; the fields say how it went.

    The inner side says `L` (with the right to allow threads) or `N`, `C` when it is confined, `R`
    when the program has run, and at last a word of two halves, of which it has the second only
    when the tests have run. Anything else is a program that plays the inner side: it fails.

    Args:
        seconds: of CPU time, twice as many on the clock.
        megabytes: of address space.
        unsafe: whether to leave it at these limits.
    """

    def __init__(self, seconds: float, megabytes: int, *, unsafe: bool) -> None:
        self.seconds = seconds
        self.unsafe = unsafe
        self.limits = [
            str(math.ceil(seconds)),
            str(megabytes),
            str(os.getpid()),
        ]
        self.why = ""
        self.status = 0
        self.cpu = 0.0
        self.output = bytearray()
        self.error = bytearray()
        self._received = b""
        self._listener = -1
        self._halves = (secrets.token_bytes(_WORD), secrets.token_bytes(_WORD))
        self._word = bytes(a ^ b for a, b in zip(*self._halves, strict=True))
        self._waiting: dict[int, Callable[[int, int], None]] = {}

    @property
    def confined(self) -> bool:
        """Whether the locks held and the program was run."""
        return self._received[1:2] == b"C"

    @property
    def passed(self) -> bool:
        """Whether the word came back."""
        return self._received[1:] == b"CR" + self._word

    def hold(self, code: str, tests: str) -> None:
        """Runs a program and its tests; nothing of it is left when this returns."""
        self._tests, self._deadline = tests, time.monotonic() + 2 * self.seconds
        words = [sys.executable, "-I", "-S", "-c", _START, *self.limits]
        self._control, theirs = socket.socketpair()
        with self._control:
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - confined by what it runs
                    [*words, *(["--unsafe-exec"] if self.unsafe else [])],
                    stdin=theirs.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={},
                    cwd="/",
                    start_new_session=True,
                    bufsize=0,
                )
            assert process.stdout and process.stderr  # noqa: S101, PT018 - asked for as pipes
            self._process = process
            self._pipes = (process.stdout, process.stderr)
            with process.stdout, process.stderr:
                try:
                    self._send(
                        _message(self._halves[0]) + _message(_data(code))
                    )
                    self._listen()
                finally:
                    self._end()
                self._drain()

    def _listen(self) -> None:
        self._poll = select.poll()
        for pipe, then in zip(
            self._pipes, (self._read_output, self._read_error), strict=True
        ):
            self._wait_for(pipe.fileno(), then)
        self._wait_for(self._control.fileno(), self._answer)
        turns = 0
        while self._waiting and not self.why and not self.passed:
            turns += 1
            if (
                turns > _BUSY
            ):  # many small questions shall not keep this side busy
                time.sleep(0.001)
            left = math.ceil(1000 * (self._deadline - time.monotonic()))
            ready = self._poll.poll(max(0, left))
            self.why = self.why if ready else "timeout"
            for fd, event in ready:
                if fd in self._waiting and not self.passed:
                    self._waiting[fd](fd, event)

    def _wait_for(self, fd: int, then: Callable[[int, int], None]) -> None:
        self._waiting[fd] = then
        self._poll.register(fd, select.POLLIN)

    def _forget(self, fd: int) -> None:
        if self._waiting.pop(fd, None):
            self._poll.unregister(fd)

    def _read_output(self, fd: int, _: int) -> None:
        self._read(fd, self.output)

    def _read_error(self, fd: int, _: int) -> None:
        self._read(fd, self.error)

    def _read(self, fd: int, into: bytearray) -> None:
        part = os.read(fd, 1 << 16)
        into += part
        if not part:
            self._forget(fd)
        elif len(into) > jail.MOST_OUTPUT:
            self.why = "flood"

    def _answer(self, fd: int, _: int) -> None:
        data = b""
        rights = list[int]()
        try:
            data, rights, _, _ = socket.recv_fds(self._control, 1 + _WORD, 1)
        except OSError:
            self._forget(fd)
        for right in rights:
            self._listener = right
            self._wait_for(right, self._allow)
        if not data:
            self._forget(fd)
        self._received += data
        script = b"CR" + self._word
        if not script.startswith(self._received[1:]):
            self.why = "failed"
        elif self._received[1:] == b"CR" and data:
            self._send(_message(_data(self._tests)) + self._halves[1])

    def _allow(self, fd: int, event: int) -> None:
        """Lets a new thread be made, or ends a program that has as many as it may have."""
        if not event & select.POLLIN:
            self._forget(fd)
            return
        if self._threads() >= jail.MOST_THREADS:
            self.why = "threads"
            return
        question = bytearray(_QUESTION_SIZE)
        try:
            fcntl.ioctl(fd, _RECEIVE, question)
            number = struct.unpack_from("=Q", question)[0]
            fcntl.ioctl(fd, _ANSWER, struct.pack("=QqiI", number, 0, 0, _GO_ON))
        except OSError:  # whoever asked is gone
            return

    def _threads(self) -> int:
        """Threads alive; a process that is gone, or cannot be looked at, gets no more of them."""
        try:
            return Path(f"/proc/{self._process.pid}/task").stat().st_nlink - 2
        except OSError:
            return jail.MOST_THREADS

    def _send(self, data: bytes) -> None:
        self._control.settimeout(max(0.1, self._deadline - time.monotonic()))
        try:
            self._control.sendall(data)
        except TimeoutError:
            self.why = "timeout"
        except OSError:  # it has ended; its status tells how
            return

    def _end(self) -> None:
        """Ends the process and what an unconfined one has started; keeps its status and CPU
        time.
        """
        os.killpg(
            self._process.pid, signal.SIGKILL
        )  # not yet waited for, so the number is its own
        _, status, used = os.wait4(self._process.pid, 0)
        self.status = self._process.returncode = os.waitstatus_to_exitcode(
            status
        )
        self.cpu = used.ru_utime + used.ru_stime
        if self._listener >= 0:
            os.close(self._listener)

    def _drain(self) -> None:
        """Reads what the pipes still hold; waits for nobody."""
        for pipe, into in zip(
            self._pipes, (self.output, self.error), strict=True
        ):
            os.set_blocking(pipe.fileno(), False)
            while len(into) <= jail.MOST_OUTPUT and (
                part := pipe.read(1 << 16)
            ):
                into.extend(part)


def _data(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _message(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
