"""What servers say that they take, in each server's shape, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import synth
from synth.core.errors import TeacherRefused
from synth.core.records import Request
from synth.teachers import openai_chat
from synth.teachers.base import Settings
from synth.teachers.openai_chat import OpenaiChat
from synth.teachers.wire.capacity import (
    ABSENT,
    UNKNOWN,
    Capacity,
    is_private,
    least_tokens,
)
from tests.conftest import chat

MODEL = "qwen"


def listed(owner, name=MODEL, **more):
    card = {"id": name, "object": "model", "owned_by": owner, **more}
    return {"object": "list", "data": [card]}


# As a llama-server of November 2026 says it, cut to what is read.
LLAMA = {
    "/v1/models": listed(
        "llamacpp", "/models/q.gguf", meta={"n_ctx": 1024, "n_ctx_train": 8192}
    ),
    "/props": {
        "default_generation_settings": {"id": 0, "n_ctx": 1024},
        "total_slots": 3,
        "model_path": "/models/q.gguf",
    },
}
VLLM = {
    "/v1/models": {
        "object": "list",
        "data": [
            {"id": "base", "owned_by": "vllm", "max_model_len": 4096},
            {"id": MODEL, "owned_by": "vllm", "max_model_len": 2048},
        ],
    }
}
SGLANG = {
    "/v1/models": listed("sglang", max_model_len=512),
    "/get_server_info": {
        "max_running_requests": None,
        "internal_states": [
            {"effective_max_running_requests_per_dp": 24},
            {"effective_max_running_requests_per_dp": 24},
        ],
    },
}
TRANSFORMERS = {
    "/v1/models": {
        "object": "list",
        "data": [
            {"owned_by": "Qwen", "id": MODEL, "object": "model", "created": 1}
        ],
    }
}


class Recorded:
    """What a server was asked."""

    def __init__(self):
        self.got, self.posted, self.keys = [], [], set()
        self.now = self.most = 0
        self.url = ""


@contextmanager
def saying(pages, seconds=0.0, status=404):
    """A server that answers chats, says what stands in `pages`, and to other paths `status`."""
    seen, lock = Recorded(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def say(self, code, value):
            body = value if isinstance(value, bytes) else json.dumps(value)
            raw = body if isinstance(body, bytes) else body.encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self):
            seen.got.append(self.path)
            seen.keys.add(self.headers.get("Authorization"))
            found = self.path in pages
            self.say(200 if found else status, pages.get(self.path, {}))

        def do_POST(self):
            size = int(self.headers["Content-Length"])
            with lock:
                seen.posted.append(json.loads(self.rfile.read(size)))
                seen.now += 1
                seen.most = max(seen.most, seen.now)
            time.sleep(seconds)
            with lock:
                seen.now -= 1
            self.say(200, chat("It is 4.\n#### 4"))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def capacity(url, **settings):
    async def look():
        teacher = OpenaiChat(MODEL, Settings(api_base=url, **settings))
        first = await teacher.capacity()
        assert await teacher.capacity() == first
        await teacher.close()
        return first

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("pages", "wanted", "questions"),
    [
        (LLAMA, Capacity(1024, 3, "llamacpp"), 2),
        (VLLM, Capacity(2048, server="vllm"), 1),
        (SGLANG, Capacity(512, 48, "sglang"), 2),
        (TRANSFORMERS, UNKNOWN, 1),
        ({}, UNKNOWN, 1),
        ({"/v1/models": b"<html>not here</html>"}, UNKNOWN, 1),
        ({"/v1/models": [1, 2]}, UNKNOWN, 1),
        ({"/v1/models": {"data": ["x", None]}}, UNKNOWN, 1),
        ({"/v1/models": listed("llamacpp")}, Capacity(server="llamacpp"), 2),
        (
            {"/v1/models": listed("vllm", max_model_len="many")},
            Capacity(server="vllm"),
            1,
        ),
        (
            {"/v1/models": listed("vllm", max_model_len=0)},
            Capacity(server="vllm"),
            1,
        ),
        (
            {"/v1/models": listed("vllm", max_model_len=True)},
            Capacity(server="vllm"),
            1,
        ),
    ],
)
def test_each_server_is_read_in_its_own_shape(pages, wanted, questions):
    with saying(pages) as server:
        assert capacity(server.url) == wanted
    assert len(server.got) == questions


def test_a_server_that_is_silent_or_away_costs_little():
    with saying({}, status=500) as server:
        assert capacity(server.url) == UNKNOWN
    assert capacity(server.url, timeout=2.0) == ABSENT


def test_the_key_goes_with_the_question_to_the_server_alone(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-my-own-key-1234")
    with saying(LLAMA) as server:
        capacity(server.url, api_key_env="MY_KEY")
    assert server.keys == {"Bearer sk-my-own-key-1234"}


@pytest.mark.parametrize(
    ("base", "private"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://192.168.0.9:1/v1", True),
        ("http://gpu7:8000/v1", True),
        ("http://vllm.team.svc:8000/v1", True),
        ("http://box.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://api.together.xyz/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_who_is_asked_what_it_takes(base, private):
    assert is_private(base) is private


def test_a_hosted_provider_is_never_asked(monkeypatch):
    async def get(*_):
        raise AssertionError("asked")

    monkeypatch.setattr(
        "synth.teachers.openai_chat.capacity_at", lambda *_: get()
    )
    assert capacity("https://api.together.xyz/v1") == UNKNOWN


def ran(server, folder, rows, **options):
    return synth.run(
        "sequence_kd",
        rows,
        teacher=f"openai/{MODEL}",
        api_base=server.url,
        output=folder,
        **options,
    )


def rows(count):
    return [{"question": f"What is {n} + 2 ?"} for n in range(count)]


@pytest.mark.parametrize("concurrency", [None, 8])
def test_slots_bound_the_calls_in_flight_unless_the_user_says_more(
    tmp_path, concurrency
):
    with saying(LLAMA, seconds=0.03) as server:
        done = ran(server, tmp_path / "o", rows(40), concurrency=concurrency)
    assert done.counts["kept"] == 40
    # A machine with much to do may not get to all that it may.
    assert server.most > 3 if concurrency else server.most <= 3
    assert server.got == ["/v1/models", "/props"]


def test_slots_of_each_server_of_many_and_none_of_them_idle(tmp_path):
    few = {
        **LLAMA,
        "/props": {**LLAMA["/props"], "total_slots": 1},
    }
    with saying(LLAMA, seconds=0.03) as three, saying(few, 0.03) as one:
        done = synth.run(
            "sequence_kd",
            rows(80),
            teacher=f"openai/{MODEL}",
            endpoints=f"{three.url},{one.url}",
            output=tmp_path / "o",
        )
    assert done.counts["kept"] == 80
    assert three.most <= 3
    assert one.most == 1
    assert len(one.posted) > 10


def test_a_prompt_that_cannot_fit_fails_without_a_call(tmp_path):
    long = {"question": "What is this ? " + "word " * 1100}
    with saying(LLAMA) as server:
        done = ran(server, tmp_path / "o", [*rows(2), long])
    assert done.counts["failed"] == {"context_length": 1}
    assert len(server.posted) == 2
    failed = (tmp_path / "o" / "failed.jsonl").read_text()
    assert "takes 1,024 tokens" in failed


def test_what_a_prompt_has_at_least_is_never_too_much():
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url"}]},
        {"role": "user", "content": "don't  stop\nhere"},
    )
    assert least_tokens(Request(model="m", messages=messages)) == 5


def test_what_llama_cpp_says_of_a_long_prompt_is_that(tmp_path):
    """The words of a server of November 2026."""
    from aiohttp import web

    from tests.conftest import serving

    said = {
        "error": {
            "code": 400,
            "message": "request (3031 tokens) exceeds the available context "
            "size (1024 tokens), try increasing it",
            "type": "exceed_context_size_error",
        }
    }

    def answer(*_):
        return web.json_response(said, status=400)

    async def ask(url):
        teacher = OpenaiChat(MODEL, Settings(api_base=url))
        try:
            await teacher.ask(
                Request(
                    model=MODEL, messages=({"role": "user", "content": ""},)
                )
            )
        finally:
            await teacher.close()

    with (
        serving(answer) as server,
        pytest.raises(TeacherRefused, match="context_length"),
    ):
        asyncio.run(ask(server.url))


def test_a_question_that_failed_is_put_again(monkeypatch):
    teacher = OpenaiChat("m", Settings(api_base="http://127.0.0.1:9/v1"))
    answers = [RuntimeError("once"), Capacity(slots=3)]

    async def answer(*_):
        one = answers.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    async def ask_twice():
        with pytest.raises(RuntimeError):
            await teacher.capacity()
        return await teacher.capacity()

    monkeypatch.setattr(openai_chat, "capacity_at", answer)
    assert asyncio.run(ask_twice()).slots == 3
