"""Ctrl-C, SIGTERM and SIGHUP: the first ends a run in order, the second ends it at once.

Handlers of Python's own are used, not the loop's: they run between two lines of code wherever the
main thread is, also while it writes files and no loop runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # 50 ms that `--help` does not need
    import asyncio

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds that a command has to leave after the second signal, before it is made to.
GRACE_SECONDS = 1.0


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; `exit_code` is 128 and the signal's number, as shells have it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.exit_code = 128 + number

    def __str__(self) -> str:
        number = self.args[0]
        if number == signal.SIGINT:
            return "interrupted"
        return f"ended by {signal.Signals(number).name}"


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that has become another error: a class that is being made and a package that is
    being imported turn all that happens into errors of their own.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


class Ending:
    """What the signals did to one task: each cancels it, and the first is remembered.

    Args:
        task: what a signal cancels.
        leaves: whether the process is the command's own: the second signal then ends it within a
            second, whatever it is doing, and output to a terminal that hung up goes nowhere.
    """

    def __init__(self, task: asyncio.Task[Any], *, leaves: bool) -> None:
        self.task = task
        self.leaves = leaves
        self.count = 0
        self.first: int = signal.SIGINT
        self._loop = task.get_loop()
        self._terminals = [fd for fd in (1, 2) if leaves and _is_terminal(fd)]

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handles a signal."""
        self.count += 1
        if self.count == 1:
            self.first = number
        if number == signal.SIGHUP:
            self._look_away()
        if self.count > 1 and self.leaves:
            timer = threading.Timer(GRACE_SECONDS, self._leave)
            timer.daemon = True
            timer.start()
        self._loop.call_soon_threadsafe(self.task.cancel)

    def _look_away(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for fd in self._terminals:
            os.dup2(nowhere, fd)
        os.close(nowhere)

    def _leave(self) -> None:
        if _is_terminal(2):
            os.write(2, b"\x1b[?25h")  # a live panel hides the cursor
        os._exit(128 + self.first)


@contextlib.contextmanager
def ending(task: asyncio.Task[Any] | None, *, leaves: bool) -> Iterator[Ending]:
    """Signals cancel the task while this lasts; in another thread than the main one they go their
    own way.
    """
    assert task is not None  # noqa: S101 - called inside one
    handler = Ending(task, leaves=leaves)
    with _handled(handler):
        yield handler


class Raised:
    """The signal that was raised last, for where a library puts a KeyboardInterrupt of its own in
    the place of ours.
    """

    number: int = signal.SIGINT


@contextlib.contextmanager
def raised() -> Iterator[Raised]:
    """SIGTERM and SIGHUP raise `Interrupted` while this lasts, as Ctrl-C raises
    KeyboardInterrupt.
    """
    last = Raised()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        last.number = number
        raise Interrupted(number)

    with _handled(end):
        yield last


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None],
) -> Iterator[None]:
    """Sets a handler for every ending signal that this process does not ignore on purpose
    (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [
        n
        for n in ENDING
        if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def exit_code(error: KeyboardInterrupt) -> int:
    """What a command leaves with after an interruption."""
    if isinstance(error, Interrupted):
        return error.exit_code
    return 128 + signal.SIGINT
