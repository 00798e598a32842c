"""A small student behind `finetune serve`, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from finetune.answering.server import ServeConfig, Student, start
from tests import tiny


@contextmanager
def student(model: str | None = None, **more: Any) -> Iterator[Student]:
    """Served on a free port; its `url` ends in /v1."""
    config = ServeConfig(model=model or tiny.causal(), port=0, **more)
    served = Student(config)
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    def work() -> None:
        runner = loop.run_until_complete(start(served))
        port = runner.addresses[0][1]
        served.url = f"http://127.0.0.1:{port}/v1"
        loop.call_soon(ready.set)
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(served.close())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        assert not thread.is_alive()
