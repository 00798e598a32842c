"""Faults of an endpoint, over a real socket."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from synth.core.errors import Stopped, TeacherBusy, TeacherRefused, WrongUse
from synth.core.records import Request, Sampling
from synth.teachers.base import Settings, open_teacher
from synth.teachers.wire.replies import read_chat
from tests.conftest import chat, serving

KEY = "sk-canary-0123456789"
REQUEST = Request(
    model="m",
    messages=({"role": "user", "content": "hi"},),
    sampling=Sampling(temperature=0.5, stop=("x",)),
)


def ask(answer, monkeypatch, timeout=5.0, request=REQUEST):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(answer) as server:

        async def once():
            teacher = open_teacher(
                "openai/m", Settings(api_base=server.url, timeout=timeout)
            )
            assert KEY not in repr(teacher)
            try:
                return await teacher.ask(request)
            finally:
                await teacher.close()

        return asyncio.run(once()), server


def error(status, code="", headers=None):
    return lambda body, count: web.json_response(
        {"error": {"message": f"no, {KEY}", "code": code}},
        status=status,
        headers=headers,
    )


def test_a_clean_reply(monkeypatch):
    reply, server = ask(lambda body, count: chat("four"), monkeypatch)
    assert (
        reply.completion.text,
        reply.completion.prompt_tokens,
        reply.completion.finish_reason,
    ) == ("four", 11, "stop")
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0.5,
            "stop": ["x"],
        }
    ]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("answer", "kind", "name"),
    [
        (error(429), TeacherBusy, "rate_limit"), (error(500), TeacherBusy, "http_500"), (error(503), TeacherBusy, "http_503"),
        (error(529), TeacherBusy, "rate_limit"), (error(408), TeacherBusy, "http_408"), (error(400), TeacherRefused, "bad_request"),
        (error(400, "context_length_exceeded"), TeacherRefused, "context_length"), (error(400, "content_filter"), TeacherRefused, "policy"),
        (error(401), Stopped, "key"), (error(403), Stopped, "key"), (error(404, "model_not_found"), Stopped, "model"),
        (error(429, "insufficient_quota"), Stopped, "quota"), (error(302, headers={"Location": "http://127.0.0.1:1/"}), Stopped, "redirect"),
        (lambda b, c: web.Response(text="<html>hello"), TeacherBusy, "invalid_reply"), (lambda b, c: [1], TeacherBusy, "invalid_reply"),
        (lambda b, c: web.Response(text='{"choices": [{"mess'), TeacherBusy, "invalid_reply"),
        (lambda b, c: chat("x", choices=[]), TeacherBusy, "empty_choices"), (lambda b, c: chat("x", choices=None), TeacherBusy, "empty_choices"),
        (lambda b, c: asyncio.sleep(3), TeacherBusy, "timeout"),
    ],
)  # fmt: skip
def test_faults_are_classed_and_never_show_the_key(
    answer, kind, name, monkeypatch
):
    with pytest.raises(kind) as caught:
        ask(answer, monkeypatch, timeout=0.5)
    assert caught.value.kind == name
    assert (
        KEY
        not in f"{caught.value!s} {caught.value!r} {caught.value.__cause__!r}"
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "99999999"}, None),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_its_forms(headers, seconds, monkeypatch):
    with pytest.raises(TeacherBusy) as caught:
        ask(error(429, headers=headers), monkeypatch)
    assert caught.value.retry_after == seconds
    assert caught.value.limited


RAW = {
    "reset before the reply": (b"", "connection"),
    "reset in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", "connection"),
    "reset in the body": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices": [',
        "broken_reply",
    ),
    "no HTTP at all": (b"220 smtp ready\r\n\r\n", "broken_reply"),
    "broken chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        "broken_reply",
    ),
    "not the encoding it says": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        "broken_reply",
    ),
    "cut-off JSON": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"choices": [{',
        "invalid_reply",
    ),
    "100,000 nested lists": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
        "invalid_reply",
    ),
    "hangs after the head": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        "timeout",
    ),
    "hangs in the body": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices"',
        "timeout",
    ),
    "hangs before the head": (b"", "timeout"),
}


@pytest.mark.parametrize("case", RAW)
def test_faults_below_http(case):
    raw, kind = RAW[case]

    async def once():
        async def handle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            if kind == "timeout":
                await asyncio.sleep(5)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        teacher = open_teacher("openai/m", Settings(api_base=url, timeout=0.4))
        try:
            await teacher.ask(REQUEST)
        finally:
            await teacher.close()
            server.close()

    with pytest.raises(TeacherBusy) as caught:
        asyncio.run(once())
    assert caught.value.kind == kind


def test_a_reply_of_5_mb_and_shuffled_choices(monkeypatch):
    reply, _ = ask(lambda b, c: chat("x" * 5_000_000), monkeypatch)
    assert len(reply.completion.text) == 5_000_000
    choices = [{"index": i, "message": {"content": str(i)}} for i in (2, 0, 1)]
    assert read_chat({"choices": choices}).text == "0"


def test_connection_refused_is_temporary():
    async def once():
        teacher = open_teacher(
            "openai/m", Settings(api_base="http://127.0.0.1:1/v1")
        )
        try:
            await teacher.ask(REQUEST)
        finally:
            await teacher.close()

    with pytest.raises(TeacherBusy, match="connection"):
        asyncio.run(once())


def test_no_key_is_found_before_any_call():
    with pytest.raises(WrongUse, match="OPENAI_API_KEY"):
        open_teacher("openai/m")


@pytest.mark.parametrize(
    "content",
    [[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"],
)
def test_content_as_parts(content):
    assert (
        read_chat({"choices": [{"message": {"content": content}}]}).text == "ab"
    )


def test_odd_usage_counts_as_nothing_and_odd_text_is_cleaned():
    value = {
        "choices": [{"message": {"content": "a\ud800\x00"}}],
        "usage": {"prompt_tokens": "7", "completion_tokens": float("nan")},
    }
    found = read_chat(value)
    assert (
        found.text,
        found.prompt_tokens,
        found.completion_tokens,
        found.finish_reason,
    ) == ("a\ufffd\x00", 0, 0, "unknown")


def test_lone_surrogates_and_nan_in_a_body_are_read(monkeypatch):
    raw = b'{"choices": [{"message": {"content": "x\\ud800"}}], "usage": {"prompt_tokens": NaN}}'
    reply, _ = ask(lambda b, c: web.Response(body=raw), monkeypatch)
    assert reply.completion.text == "x\ufffd"
    assert b"\n" not in reply.raw
