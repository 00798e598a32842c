"""Streams of events: joined into one reply, or known to be broken."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import TeacherBusy
from synth.core.records import Request
from synth.teachers.base import Settings, open_teacher
from synth.teachers.wire.replies import read_chat
from synth.teachers.wire.streams import events, is_stream, joined
from tests.conftest import serving


def chunk(delta=None, finish=None, **more):
    return {
        "id": "1",
        "model": "m",
        "choices": [
            {"index": 0, "delta": delta or {}, "finish_reason": finish}
        ],
        **more,
    }


def stream(*chunks, end="data: [DONE]\n\n", line="\n"):
    return (
        "".join(f"data: {json.dumps(c)}{line}{line}" for c in chunks) + end
    ).encode()


USAGE = {
    "id": "1",
    "model": "m",
    "choices": [],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
WHOLE = [
    chunk({"role": "assistant", "content": "The answer "}),
    chunk({"content": "is 5."}),
    chunk(finish="stop"),
    USAGE,
]


@pytest.mark.parametrize(
    "raw",
    [
        stream(*WHOLE), stream(*WHOLE, end=""), stream(*WHOLE, line="\r\n"), stream(*WHOLE, line="\r"),
        b": ping\n\n" + stream(*WHOLE).replace(b"data: {", b": keep-alive\ndata: {"),
        b"\xef\xbb\xbf" + stream(*WHOLE).replace(b"data: ", b"data:"),
        stream(*WHOLE).replace(b"data: {", b"event: message\nid: 7\ndata: {"),
        stream(*WHOLE).replace(b'"choices": ', b'\ndata: "choices": '),
        stream(*WHOLE).replace(b"\n\n", b"\n"), stream(*WHOLE[:-1], chunk(usage=USAGE["usage"])).rstrip(),
    ],
    ids=["plain", "no DONE", "CRLF", "CR", "comments", "BOM, no blank", "named events", "several data lines", "no blank lines", "no last end"],
)  # fmt: skip
def test_spellings_of_one_reply(raw):
    found = read_chat(joined(raw))
    assert (
        found.text,
        found.finish_reason,
        found.model,
        found.prompt_tokens,
        found.completion_tokens,
    ) == (
        "The answer is 5.",
        "stop",
        "m",
        3,
        2,
    )


@pytest.mark.parametrize(
    "raw",
    [stream(*WHOLE[:2], end=""), stream(*WHOLE, end="")[:60], b"data: {\n\n", b": ping\n\n", b"data: [1]\n\n", b"", stream(*WHOLE[:1], end="data: {\"choi")],
)  # fmt: skip
def test_a_stream_that_breaks_off_is_asked_again(raw):
    with pytest.raises(TeacherBusy) as caught:
        joined(raw)
    assert caught.value.kind == "broken_reply"


def test_thoughts_tools_and_log_probabilities_are_joined():
    calls = [
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}},
    ]
    raw = stream(
        chunk({"reasoning_content": "2 + 3 "}),
        chunk({"reasoning_content": "makes 5", "content": ""}),
        chunk({"tool_calls": calls}),
        chunk(
            {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}
        ),
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "x"},
                    "logprobs": {"content": [{"token": "x", "logprob": -1.0}]},
                }
            ]
        },
        chunk(finish="tool_calls"),
    )
    value = joined(raw)
    message = value["choices"][0]["message"]
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": '{"x": 1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert read_chat(value).reasoning == "2 + 3 makes 5"
    assert read_chat(value).logprobs == [{"token": "x", "logprob": -1.0}]


def test_replies_of_one_stream_are_told_apart():
    both = [
        {"choices": [{"index": i, "delta": {"content": t}, "finish_reason": f}]}
        for i, t, f in (
            (1, "b", None),
            (0, "a", None),
            (1, "d", "stop"),
            (0, "c", "stop"),
        )
    ]
    assert [
        c["message"]["content"] for c in joined(stream(*both))["choices"]
    ] == ["ac", "bd"]


@given(st.text(), st.integers(1, 7), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_text_comes_through(text, size, line):
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    raw = stream(
        *(chunk({"content": piece}) for piece in pieces),
        chunk(finish="stop"),
        line=line,
    )
    assert (joined(raw)["choices"][0]["message"]["content"] or "") == text
    assert len(list(events(raw))) == len(pieces) + 2


def test_what_is_a_stream():
    assert is_stream(
        {"content-type": "text/event-stream; charset=utf-8"}, b": x\n"
    )
    assert is_stream({}, b"data: {}")
    assert not is_stream({"content-type": "text/event-stream"}, b'{"error": 1}')
    assert not is_stream({"content-type": "application/json"}, b"[1]")


def served(answer):
    with serving(answer) as server:

        async def once():
            teacher = open_teacher("openai/m", Settings(api_base=server.url))
            try:
                return await teacher.ask(
                    Request(
                        model="m",
                        messages=({"role": "user", "content": "2 + 3?"},),
                    )
                )
            finally:
                await teacher.close()

        return asyncio.run(once()), server


def events_of(raw):
    return web.Response(body=raw, content_type="text/event-stream")


def test_a_model_that_only_streams_is_asked_for_a_stream():
    def answer(body, count):
        if not body.get("stream"):
            return web.json_response(
                {"error": {"message": "This model only supports stream=true"}},
                status=400,
            )
        if "stream_options" in body:
            return web.json_response(
                {
                    "error": {
                        "message": "Unrecognized request argument supplied: stream_options"
                    }
                },
                status=400,
            )
        return events_of(stream(*WHOLE))

    reply, server = served(answer)
    assert (reply.completion.text, len(server.bodies)) == (
        "The answer is 5.",
        3,
    )
    assert json.loads(reply.raw)["object"] == "chat.completion"


def test_a_server_that_streams_unasked_is_read():
    reply, server = served(lambda body, count: events_of(stream(*WHOLE)))
    assert (
        reply.completion.text,
        reply.completion.completion_tokens,
        len(server.bodies),
    ) == ("The answer is 5.", 2, 1)


@pytest.mark.parametrize(
    "last",
    [
        {"error": {"message": "upstream overloaded", "code": 502}},
        chunk(finish="error"),
        {"object": "error", "message": "gone", "code": 503},
    ],
)
def test_an_error_inside_a_stream_is_asked_again(last):
    with pytest.raises(TeacherBusy):
        served(
            lambda body, count: events_of(
                stream(*([WHOLE[0]] if "choices" in last else []), last)
            )
        )
