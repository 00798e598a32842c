"""Shared fixtures: no test reaches the network, and every test has a clean environment."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from aiohttp import web

from synth.core import registry

# Collecting imports all there is: a collector of garbage that runs meanwhile takes a quarter of
# the time and finds next to none.
gc.disable()

# Two processes share two cores: how long an example takes says nothing.
# The check of a change draws the same examples each time; the thorough one draws new ones.
hypothesis.settings.register_profile(
    "quick", deadline=None, max_examples=10, derandomize=True
)
hypothesis.settings.register_profile(
    "thorough", deadline=None, max_examples=200
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to any other address fails the test."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and not str(address[0]).startswith(
            ("127.", "::1", "localhost")
        ):
            raise AssertionError(f"a test tried to reach {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def few_objects_to_walk() -> None:
    """A million objects of torch and transformers outlive every test. Trainers collect garbage
    at each end, which walks them all (half a second), unless they are set aside.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files stand at the root or hold slow tests: they begin first, each in one process,
    so that no process waits for another at the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[bool, bool]:
        return item.path.parent != ROOT / "tests", item.path not in slow

    items.sort(key=place)


def pytest_collection_finish() -> None:
    gc.enable()


# Files whose tests share what takes seconds to load: one process has them all.
TOGETHER = {
    "litellm": (
        "tests/teachers/test_access.py",
        "tests/teachers/test_batch.py",
        "tests/teachers/test_caching.py",
        "tests/teachers/test_litellm.py",
    ),
    "the process of scoring models": (
        "tests/filters/test_laws.py",
        "tests/filters/test_semantic_entropy.py",
        "tests/local_models/test_scores.py",
        "tests/tools/test_statement_metrics.py",
        "tests/verifiers/test_entailment.py",
    ),
}
LOADED = {path: name for name, paths in TOGETHER.items() for path in paths}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a file run in one process, and so do files that stand in `TOGETHER`."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = super()._split_scope(nodeid)
            return LOADED.get(path, path)

    return Together(config, log)


def rest_long(cases: Iterable[Any], quick: int = 1) -> list[Any]:
    """Cases of one test: the first of them in every run, the others with the long tests."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[pytest.mark.long] if place >= quick else [],
        )
        for place, case in enumerate(cases)
    ]


class Server:
    """A loopback server with an OpenAI face; `answer` decides on each request, `bodies` and `headers` record them."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Any]) -> None:
        self.answer, self.bodies, self.headers, self.port = answer, [], [], 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        answer = self.answer(body, len(self.bodies))
        if asyncio.iscoroutine(answer):
            answer = await answer
        return (
            answer
            if isinstance(answer, web.StreamResponse)
            else web.json_response(answer)
        )


def chat(text: str, **more: Any) -> dict[str, Any]:
    """A chat completion that says `text`."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    return {
        "model": "mock",
        "choices": [choice],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
        **more,
    }


@contextmanager
def hosted(app: Callable[[], web.Application]) -> Iterator[int]:
    """The port of an application that is made and runs in a thread with a loop of its own."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ports: list[int] = []

    async def start() -> web.AppRunner:
        runner = web.AppRunner(app(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        return runner

    def work() -> None:
        runner = loop.run_until_complete(start())
        loop.call_soon(ready.set)
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def serving(
    answer: Callable[[dict[str, Any], int], Any],
    paths: tuple[str, ...] = ("/v1/chat/completions",),
) -> Iterator[Server]:
    """A server with an OpenAI face."""
    server = Server(answer)

    def app() -> web.Application:
        made = web.Application(client_max_size=1 << 26)
        for path in paths:
            made.router.add_route("*", path, server.handle)
        return made

    with hosted(app) as server.port:
        yield server


@pytest.fixture
def serve() -> Any:
    return serving


def of_part(room: str, name: str, what: str, default: Any) -> Any:
    """What the test file of a part says of it for the laws, such as its CASE; `default` where it says nothing."""
    tests = room.replace("synth", "tests")
    return getattr(import_module(f"{tests}.test_{name}"), what, default)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """60 sample problems as a JSONL file."""
    from synth.teachers.simulation.word_problems import make_problems

    return write(tmp_path / "problems.jsonl", make_problems(60, seed=3))


def assert_documented(room: str, name: str) -> None:
    """A loss says what a reader needs to choose."""
    doc = registry.find(room, name).__doc__ or ""
    for heading in (
        "Args:",
        "Shapes:",
        "Returns:",
        "Raises:",
        "Source:",
        "Example:",
    ):
        assert heading in doc, f"{name} lacks {heading}"
