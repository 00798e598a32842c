"""One reader for every shape of reply; failures with status 200; addresses where nothing is."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

import synth
from synth.core.errors import Stopped, TeacherBusy, TeacherRefused
from synth.core.records import Request, Sampling
from synth.packs.sampling_schema import SamplingSpec
from synth.teachers.base import Settings, open_teacher
from synth.teachers.openai_chat import hint
from synth.teachers.wire.replies import read_chat
from tests.conftest import chat, serving, write

THOUGHT = "2 + 3 makes 5"


def reply(message, finish="stop", **more):
    return {
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", **message},
                "finish_reason": finish,
            }
        ],
        **more,
    }


@pytest.mark.parametrize(
    "message",
    [
        {"content": "5", "reasoning_content": THOUGHT},
        {"content": "5", "reasoning": THOUGHT},
        {"content": "5", "reasoning": None, "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
        {"content": "5", "reasoning_details": [{"type": "reasoning.summary", "summary": "2 + 3 "}, {"type": "reasoning.text", "text": "makes 5"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}, {"type": "text", "text": "5"}]},
        {"content": [{"type": "thinking", "thinking": THOUGHT}, "5"]},
        {"content": [{"type": "reasoning", "text": THOUGHT}, {"type": "text", "text": "5"}]},
        {"content": "5", "thinking_blocks": [{"type": "thinking", "thinking": THOUGHT, "signature": "x"}]},
        {"content": "5", "thinking": THOUGHT},
        {"content": ["", "5"], "reasoning_content": [{"type": "text", "text": THOUGHT}]},
    ],
)  # fmt: skip
def test_thoughts_wherever_they_stand(message):
    found = read_chat(reply(message))
    assert (found.text, found.reasoning) == ("5", THOUGHT)


@pytest.mark.parametrize(
    "content",
    [
        ["The answer", " is 5."],
        [{"type": "output_text", "text": "The answer is 5."}],
        "The answer is 5.",
    ],
)
def test_texts_in_parts(content):
    assert read_chat(reply({"content": content})).text == "The answer is 5."


def test_legacy_completions():
    assert (
        read_chat(
            {"choices": [{"index": 0, "text": "5", "finish_reason": "stop"}]}
        ).text
        == "5"
    )


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("model_length", "length"), ("SAFETY", "content_filter"), ("sensitive", "content_filter"),
        ("eos", "eos"), ("tool_calls", "tool_calls"), (None, "unknown"), ("stop", "stop"), ("", "unknown"), (7, "7"),
    ],
)  # fmt: skip
def test_ends_of_replies(said, read):
    assert read_chat(reply({"content": "5"}, said)).finish_reason == read


def test_thoughts_that_a_provider_counts_beside_the_reply_count_as_tokens_out():
    beside = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    inside = {
        "prompt_tokens": 32,
        "completion_tokens": 103,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    found = [
        read_chat(reply({"content": "5"}, usage=usage))
        for usage in (beside, inside, {**inside, "total_tokens": None})
    ]
    assert [(f.completion_tokens, f.reasoning_tokens) for f in found] == [
        (103, 94)
    ] * 3


def ask(answer, sampling=None):
    with serving(answer) as server:

        async def once():
            teacher = open_teacher("openai/m", Settings(api_base=server.url))
            try:
                return await teacher.ask(
                    Request(
                        model="m",
                        messages=({"role": "user", "content": "2 + 3?"},),
                        sampling=sampling or Sampling(),
                    )
                )
            finally:
                await teacher.close()

        return asyncio.run(once()), server.bodies


@pytest.mark.parametrize(
    ("answer", "kind", "name"),
    [
        ({"error": {"message": "upstream overloaded", "code": 502}}, TeacherBusy, "http_502"),
        ({"error": "overloaded"}, TeacherBusy, "http_200"),
        ({"error": {"message": "bad key", "code": 401}}, Stopped, "key"),
        ({"error": {"message": "no such thing", "code": 400}, "choices": []}, TeacherRefused, "bad_request"),
        ({"error": {"message": "slow down", "code": "429"}}, TeacherBusy, "rate_limit"),
        (reply({"content": ""}, "error", error={"code": 502, "message": "Upstream error"}), TeacherBusy, "http_502"),
        ({"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "x"}}]}, TeacherBusy, "http_502"),
        (reply({"content": "half an ans"}, "insufficient_system_resource"), TeacherBusy, "http_200"),
        (reply({"content": "half"}, "abort"), TeacherBusy, "http_200"),
        (reply({"content": None}, "network_error"), TeacherBusy, "http_200"),
        (reply({"content": ""}, "stop", error={"message": "gone"}), TeacherBusy, "http_200"),
        ({"object": "error", "message": "no model", "code": 503}, TeacherBusy, "http_503"),
        ({"success": False, "errors": ["x"]}, TeacherBusy, "empty_choices"),
        ({"choices": [{"index": 0}]}, TeacherBusy, "empty_choices"),
    ],
)  # fmt: skip
def test_a_failure_with_status_200_is_no_reply(answer, kind, name):
    with pytest.raises(kind) as caught:
        ask(lambda body, count: answer)
    assert caught.value.kind == name


def test_a_login_page_is_named_and_a_reply_beside_a_warning_is_read():
    page = "<!doctype html><html><title>Sign in - Corp</title>"
    with pytest.raises(TeacherBusy, match=r"web page .'Sign in - Corp'"):
        ask(
            lambda body, count: web.Response(
                text=page, content_type="text/html"
            )
        )
    assert (
        ask(
            lambda body, count: reply(
                {"content": "5"}, error=None, warning="old"
            )
        )[0].completion.text
        == "5"
    )


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.", "code": 400}, "context_length"),
        ({"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}, "context_length"),
        ({"detail": [{"loc": ["body", "max_tokens"], "msg": "value is too large", "type": "value_error"}]}, "bad_request"),
    ],
)  # fmt: skip
def test_refusals_in_words(body, name):
    with pytest.raises(TeacherRefused) as caught:
        ask(
            lambda _, count: web.json_response(body, status=400),
            Sampling(max_tokens=9),
        )
    assert caught.value.kind == name


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("http://h:8000", "http://h:8000/v1"), ("http://h:8000/v1/chat/completions/chat/completions", "twice"), ("http://h/v1/v1", "twice"),
        ("https://api.anthropic.com/v1/messages", "anthropic/MODEL"), ("https://x.openai.azure.com", "deployments"), ("http://h/v1/completions", "http://h/v1"),
        ("http://h/v1/models", "http://h/v1"), ("http://h/v1", "name right"), ("http://h/chat/completions", "http://h/v1"),
    ],
)  # fmt: skip
def test_hints_for_an_address_where_nothing_is(base, words):
    assert words in hint(base)


def azure():
    """A server with Azure's paths: a deployment, a version in the query, a key in a header of its own."""
    seen = []

    async def handle(request):
        seen.append(request)
        if request.headers.get("api-key") != "secret-of-azure":
            return web.json_response(
                {
                    "error": {
                        "code": "401",
                        "message": "Access denied due to invalid subscription key",
                    }
                },
                status=401,
            )
        if not request.query.get("api-version"):
            return web.json_response(
                {"error": {"code": "404", "message": "Resource not found"}},
                status=404,
            )
        return web.json_response(chat("5"))

    async def start():
        app = web.Application()
        app.router.add_post("/openai/deployments/dep/chat/completions", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    return start, seen


def test_azure_takes_its_key_in_a_header_and_its_version_in_the_query(
    monkeypatch,
):
    monkeypatch.setenv("AZURE_KEY", "secret-of-azure")
    start, seen = azure()

    async def once(query, headers):
        runner = await start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}/openai/deployments/dep{query}"
        teacher = open_teacher(
            "openai/dep",
            Settings(api_base=base, api_key_env="", headers=headers),
        )
        try:
            return await teacher.ask(
                Request(
                    model="dep",
                    messages=({"role": "user", "content": "2 + 3?"},),
                )
            )
        finally:
            await teacher.close()
            await runner.cleanup()

    found = asyncio.run(
        once("?api-version=2024-10-21", {"api-key": "AZURE_KEY"})
    )
    assert found.completion.text == "5"
    assert "Authorization" not in seen[-1].headers
    with pytest.raises(Stopped, match="key: HTTP 401"):
        asyncio.run(once("?api-version=2024-10-21", {}))
    with pytest.raises(
        Stopped, match=r"model: HTTP 404 .*deployments/dep/chat/completions"
    ):
        asyncio.run(once("", {"api-key": "AZURE_KEY"}))


def test_a_404_names_the_address_and_what_is_missing(tmp_path, capsys):
    rows = write(
        tmp_path / "q.jsonl", [{"question": "What is 2 + 3 ?", "target": "5"}]
    )
    with serving(lambda body, count: chat("5")) as server:
        base = server.url.removesuffix("/v1")
        done = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            output=tmp_path / "o",
            api_base=base,
        )
    assert done.exit_code == 5
    assert f"{base}/chat/completions" in done.stopped
    assert f"{base}/v1" in done.stopped


def test_the_first_refusal_of_each_kind_is_shown_once_and_without_keys(
    tmp_path, capsys, monkeypatch, problems
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    said = {
        "error": {
            "message": "bad \x1b[31mthing, sk-canary-0123456789",
            "code": "x",
        }
    }

    def answer(body, count):
        return web.json_response(said, status=400) if count > 1 else chat("5")

    with serving(answer) as server:
        synth.run(
            "cot",
            problems,
            teacher="openai/m",
            output=tmp_path / "o",
            api_base=server.url,
            limit=6,
            keep_going=True,
        )
    err = capsys.readouterr().err
    assert err.count("synth: note:") == 1
    assert r"bad_request: HTTP 400 bad \x1b[31mthing, [key]" in err


def test_calls_of_functions_are_named_as_such(tmp_path):
    calls = [
        {
            "id": "c",
            "type": "function",
            "function": {"name": "add", "arguments": "{}"},
        }
    ]
    rows = write(
        tmp_path / "q.jsonl", [{"question": "What is 2 + 3 ?", "target": "5"}]
    )
    with serving(
        lambda body, count: reply(
            {"content": None, "tool_calls": calls}, "tool_calls"
        )
    ) as server:
        done = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            output=tmp_path / "o",
            api_base=server.url,
        )
    assert done.counts["dropped"] == {"tool_call": 1}


def test_reasoning_effort_is_asked_for_and_changes_no_other_key():
    plain = Request(model="m", messages=({"role": "user", "content": "hi"},))
    assert (
        plain.key()
        == "7e16965a98200d33cc35b9ab9f79c06eab2ab7bbebd05248a5a82dd692f0b16b"
    )
    assert SamplingSpec(reasoning_effort="low").record().body == {
        "reasoning_effort": "low"
    }
    assert (
        Sampling(reasoning_effort="low").body
        == Sampling(extra={"reasoning_effort": "low"}).body
    )
    _, bodies = ask(
        lambda body, count: chat("5"), Sampling(reasoning_effort="high")
    )
    assert bodies[0]["reasoning_effort"] == "high"
    with pytest.raises(ValueError, match="reasoning_effort"):
        SamplingSpec(reasoning_effort="lots")


def test_an_effort_that_a_model_does_not_know_fails_the_row_and_one_that_does_not_think_is_asked_without():
    value = "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'low', 'high'."
    said = {
        "error": {
            "message": value,
            "param": "reasoning_effort",
            "code": "unsupported_value",
        }
    }
    with pytest.raises(TeacherRefused, match="Supported values"):
        ask(
            lambda body, count: web.json_response(said, status=400),
            Sampling(reasoning_effort="minimal"),
        )

    def plain(body, count):
        words = {
            "error": {
                "message": "Unrecognized request argument supplied: reasoning_effort"
            }
        }
        return (
            web.json_response(words, status=400)
            if "reasoning_effort" in body
            else chat("5")
        )

    assert (
        ask(plain, Sampling(reasoning_effort="low"))[0].completion.text == "5"
    )
