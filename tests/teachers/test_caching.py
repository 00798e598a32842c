"""Marks for a provider's cache: behind what two requests share, never at first sight, and in no key."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.calls.journal import records
from synth.teachers.wire.caching import LEAST, Beginnings, wants_marks
from tests.teachers.batch_servers import KEY, Anthropic, provider

CLAUDE = "anthropic/claude-sonnet-4-5"
LONG = "Rules. " * LEAST
ROLES = st.sampled_from(["system", "user", "assistant"])
MESSAGES = st.lists(
    st.tuples(ROLES, st.sampled_from(["short", LONG, LONG + "!"])),
    min_size=1,
    max_size=4,
)


def body_of(*messages, **more):
    listed = [{"role": role, "content": text} for role, text in messages]
    return {"model": CLAUDE, "messages": listed, **more}


def marks(body):
    return json.dumps(body).count("cache_control")


def without_marks(body):
    messages = []
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, list):
            (part,) = content
            content = part["text"]
        messages.append({**message, "content": content})
    return {**body, "messages": messages}


@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_a_mark_changes_no_word_and_stands_at_most_once(conversations):
    beginnings = Beginnings(CLAUDE)
    for messages in conversations:
        body = body_of(*messages)
        before = json.dumps(body)
        marked = beginnings.marked(body)
        assert json.dumps(body) == before
        assert without_marks(marked) == body
        assert marks(marked) <= 1
    first = Beginnings(CLAUDE)
    assert marks(first.marked(body_of(*conversations[0]))) == 0


def test_the_mark_stands_behind_the_longest_beginning_that_was_seen():
    beginnings = Beginnings(CLAUDE)
    talk = [("system", LONG), ("user", "one"), ("assistant", "two"), ("user", "three")]  # fmt: skip
    assert marks(beginnings.marked(body_of(*talk[:2]))) == 0
    again = beginnings.marked(body_of(*talk))
    assert "cache_control" in again["messages"][1]["content"][0]
    other = beginnings.marked(body_of(talk[0], ("user", "other")))
    assert "cache_control" in other["messages"][0]["content"][0]
    # Tools stand before all else: with other tools nothing is shared.
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert marks(beginnings.marked(body_of(*talk, tools=tools))) == 0


def test_what_is_short_or_asked_elsewhere_is_not_marked():
    short, other = Beginnings(CLAUDE), Beginnings("groq/llama")
    for _ in range(3):
        assert marks(short.marked(body_of(("system", "Be brief.")))) == 0
        assert marks(other.marked(body_of(("system", LONG)))) == 0
    assert not wants_marks("vertex_ai/gemini-2.5-flash")


def run(tmp_path, server, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    return synth.run(
        "sequence_kd",
        [{"question": f"{LONG} same"}],
        teacher=server.teacher,
        output=tmp_path,
        api_base={"teacher": server.url},
        draws=4,
        concurrency=1,
    )


def test_draws_of_one_question_are_marked_and_reads_and_writes_have_their_price(
    tmp_path, monkeypatch
):
    with provider(Anthropic) as server:
        done = run(tmp_path / "a", server, monkeypatch)
        found = [marks(body) for body in server.online]
    assert found[0] == 0
    assert sum(found) == 3
    keys = {key for key, _ in records(tmp_path / "a" / "journal")}
    assert len(keys) == 4
    # Of 11 tokens in, 2 are read and 4 written, by litellm's table; 7 come out.
    each = (5 * 3 + 2 * 0.3 + 4 * 6 + 7 * 15) / 1e6
    assert done.info["cost"]["usd"] == pytest.approx(4 * each, abs=1e-6)
    assert done.info["cost"]["cached_tokens"] == 8


def test_a_server_that_refuses_marks_is_asked_without(tmp_path, monkeypatch):
    class Old(Anthropic):
        async def chat(self, request):
            if marks(await request.json()):
                words = (
                    "messages.0.cache_control: Extra inputs are not permitted"
                )
                error = {"type": "invalid_request_error", "message": words}
                return web.json_response({"error": error}, status=400)
            return await super().chat(request)

    with provider(Old) as server:
        assert run(tmp_path / "a", server, monkeypatch).counts["kept"] == 4
        assert len(server.online) == 4
