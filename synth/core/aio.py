"""Coroutines from plain code, with and without a running loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing: no event loop is started for it."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise RuntimeError("a filter that waits for something says so with `asks`")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine from plain code, also inside a running loop (then in a thread of its
    own).
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(work)
    return _in_a_thread(work)


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Beside a running loop (a notebook's); an interrupt of the thread that waits cancels the work,
    as one of a command does.
    """
    task: asyncio.Task[T] | None = None

    async def watched() -> T:
        nonlocal task
        task = asyncio.current_task()
        return await work

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(_run, watched())
        while True:
            try:
                return future.result()
            except asyncio.CancelledError as error:
                raise KeyboardInterrupt from error
            except KeyboardInterrupt:
                if future.done() or task is None:
                    raise
                task.get_loop().call_soon_threadsafe(task.cancel)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """On a uvloop, which takes a third of the CPU of asyncio's own loop off each call."""
    try:
        import uvloop  # noqa: PLC0415 - filters that ask nobody need none

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        # An interrupt may come before the loop has begun it.
        work.close()
