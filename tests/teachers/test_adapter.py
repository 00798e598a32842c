"""Models that do not take all of a request: learned once, said once, remembered; keys and rows stay."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

import synth
from synth.core.errors import Stopped, TeacherRefused
from synth.core.records import Request, Sampling
from synth.teachers.base import Settings, open_teacher
from synth.teachers.wire.adapter import (
    BOTH,
    FILE,
    STREAM,
    SYSTEM,
    refused_by,
    unsupported_fields,
)
from synth.teachers.wire.faults import Problem, read_problem
from tests.conftest import chat, serving

USER = {"role": "user", "content": "2 + 3?"}
SYSTEMATIC = ({"role": "system", "content": "Be brief."}, USER)


def openai_says(message, param=None, code=None, status=400):
    return web.json_response(
        {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": param,
                "code": code,
            }
        },
        status=status,
    )


def refuses(field, answer, *, allowed="nothing"):
    """A rule: a body with a field (and another value than the allowed one) gets an answer."""
    return lambda body: (
        answer() if field in body and body[field] != allowed else None
    )


def refuses_system(answer):
    return lambda body: (
        answer()
        if any(m["role"] == "system" for m in body["messages"])
        else None
    )


def unsupported(field):
    return refuses(
        field,
        lambda: openai_says(
            f"Unsupported parameter: '{field}' is not supported with this model.",
            field,
            "unsupported_parameter",
        ),
    )


MODELS = {
    # OpenAI's thinking models
    "thinker": [
        refuses("max_tokens", lambda: openai_says(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "max_tokens", "unsupported_parameter")),
        refuses("temperature", lambda: openai_says(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.",
            "temperature", "unsupported_value"), allowed=1),
        unsupported("top_p"), unsupported("presence_penalty"),
    ],
    # The same words without code and param
    "wordy": [
        refuses("max_tokens", lambda: openai_says("'max_tokens' is not supported with this model. Use 'max_completion_tokens'.")),
        refuses("temperature", lambda: openai_says("invalid temperature: only 1 is allowed for this model")),
    ],
    "old-server": [refuses("max_completion_tokens", lambda: openai_says("Unrecognized request argument supplied: max_completion_tokens"))],
    "camel": [refuses("presence_penalty", lambda: web.json_response({"code": "Client specified an invalid argument", "error": "Model camel does not support parameter presencePenalty."}, status=400))],
    "strict": [refuses("seed", lambda: web.json_response({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}]}, status=422))],
    "gemini-like": [refuses("seed", lambda: web.json_response([{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"seed\": Cannot find field.", "status": "INVALID_ARGUMENT"}}], status=400))],
    "gateway": [refuses("seed", lambda: web.json_response({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps({"error": {"message": "Unknown parameter: 'seed'", "param": "seed", "code": "unknown_parameter"}}), "provider_name": "X"}}}, status=400))],
    "either": [lambda body: openai_says("`temperature` and `top_p` cannot both be specified for this model. Please use only one.") if {"temperature", "top_p"} <= body.keys() else None],
    "gemma": [refuses_system(lambda: openai_says("System role not supported"))],
    "gemma-3": [refuses_system(lambda: openai_says("Developer instruction is not enabled for models/gemma-3-1b-it"))],
    "mixed": [refuses_system(lambda: openai_says("Conversation roles must alternate user/assistant/user/assistant/..."))],
    "first-o": [refuses_system(lambda: openai_says("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "messages[0].role", "unsupported_value"))],
    "no-stop": [unsupported("stop")],
    "no-n": [refuses("n", lambda: openai_says("'n' is not supported for this model", "n", "unsupported_value"))],
    "plain": [],
}  # fmt: skip


def provider(body, count):
    for rule in MODELS[body["model"]]:
        if (answer := rule(body)) is not None:
            return answer
    return chat("5. END and more")


def ask(model, sampling, *, messages=(USER,), folder=None, **fields):
    """(reply, bodies that the server saw, rules noted) of one request."""
    request = Request(
        model=model, messages=messages, sampling=sampling, **fields
    )
    with serving(provider) as server:

        async def once():
            teacher = open_teacher(
                f"openai/{model}", Settings(api_base=server.url, folder=folder)
            )
            try:
                return await teacher.ask(request), dict(teacher.adapted)
            finally:
                await teacher.close()

        reply, noted = asyncio.run(once())
        return reply, server.bodies, noted


ADAPTED = {
    "thinker": (
        Sampling(
            max_tokens=64, temperature=0.7, top_p=0.9, presence_penalty=0.1
        ),
        {"max_completion_tokens": 64},
    ),
    "wordy": (
        Sampling(max_tokens=64, temperature=0.7, top_p=0.9),
        {"max_completion_tokens": 64, "top_p": 0.9},
    ),
    "old-server": (
        Sampling(extra={"max_completion_tokens": 64}),
        {"max_tokens": 64},
    ),
    "camel": (Sampling(presence_penalty=0.5, top_p=0.9), {"top_p": 0.9}),
    "strict": (Sampling(seed=1, temperature=0.5), {"temperature": 0.5}),
    "gemini-like": (Sampling(seed=1, temperature=0.5), {"temperature": 0.5}),
    "gateway": (Sampling(seed=1, temperature=0.5), {"temperature": 0.5}),
    "either": (Sampling(temperature=0.5, top_p=0.9), {"temperature": 0.5}),
    "no-n": (Sampling(extra={"n": 2}, temperature=0.5), {"temperature": 0.5}),
    "plain": (
        Sampling(max_tokens=64, temperature=0.7, seed=3),
        {"max_tokens": 64, "temperature": 0.7, "seed": 3},
    ),
}


@pytest.mark.parametrize("model", ADAPTED)
def test_what_a_model_does_not_take_is_left_out_and_nothing_else(model, capsys):
    sampling, left = ADAPTED[model]
    reply, bodies, noted = ask(model, sampling)
    assert bodies[-1] == {"model": model, "messages": [USER], **left}
    assert reply.completion.text.startswith("5.")
    assert len(bodies) == 1 + len(noted)
    assert capsys.readouterr().err.count("synth: note:") == len(noted)


@pytest.mark.parametrize("model", ["gemma", "gemma-3", "mixed", "first-o"])
def test_system_messages_stand_in_front_of_the_users(model):
    _, bodies, noted = ask(model, Sampling(), messages=SYSTEMATIC)
    assert bodies[-1]["messages"] == [
        {"role": "user", "content": "Be brief.\n\n2 + 3?"}
    ]
    assert list(noted) == [SYSTEM]


def test_stop_texts_that_a_model_refuses_cut_the_reply_here():
    reply, bodies, _ = ask("no-stop", Sampling(stop=("END",)))
    assert "stop" not in bodies[-1]
    assert reply.completion.text == "5. "
    assert json.loads(reply.raw)["choices"][0]["message"]["content"] == "5. "


def test_a_later_teacher_on_the_folder_does_not_try_again(tmp_path):
    sampling = Sampling(max_tokens=64, temperature=0.7)
    _, first, _ = ask("wordy", sampling, folder=tmp_path)
    assert len(first) == 3
    # The endpoint's URL is part of the name, as another server may take more.
    noted = json.loads((tmp_path / FILE).read_text())
    with serving(provider) as server:
        (tmp_path / FILE).write_text(
            json.dumps({f"wordy at {server.url}": next(iter(noted.values()))})
        )

        async def again():
            teacher = open_teacher(
                "openai/wordy", Settings(api_base=server.url, folder=tmp_path)
            )
            await teacher.ask(
                Request(model="wordy", messages=(USER,), sampling=sampling)
            )
            await teacher.close()

        asyncio.run(again())
    assert server.bodies == [
        {"model": "wordy", "messages": [USER], "max_completion_tokens": 64}
    ]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (
            "response_format",
            "response_format json_schema is not supported by this model",
        ),
        ("logprobs", "`logprobs` is not supported with this model"),
        ("tools", "Function calling is not enabled for models/x"),
    ],
)
def test_what_rows_need_is_never_left_out(field, words, monkeypatch):
    monkeypatch.setitem(
        MODELS, "poor", [refuses(field, lambda: openai_says(words))]
    )
    given = {
        "response_format": {"response_format": {"type": "json_object"}},
        "logprobs": {"sampling": Sampling(logprobs=True)},
        "tools": {"tools": ({"type": "function", "function": {"name": "f"}},)},
    }[field]
    with pytest.raises(Stopped, match=rf"{field}.*--set s\.") as caught:
        ask("poor", given.pop("sampling", Sampling()), step="s", **given)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    "words",
    [
        "`temperature` must be between 0 and 1", "max_tokens is too large: 9999. This model supports at most 4096 completion tokens",
        "Invalid value: 2.5. temperature above 2 is not allowed", "seed must be less than 2147483648",
        "The model does not support images. Your temperature is fine.",
    ],
)  # fmt: skip
def test_a_value_out_of_range_fails_the_row(words, monkeypatch):
    monkeypatch.setitem(MODELS, "ranged", [lambda body: openai_says(words)])
    with pytest.raises(TeacherRefused) as caught:
        ask("ranged", Sampling(temperature=0.5, max_tokens=9999, seed=1))
    assert caught.value.kind == "bad_request"


BODY = {
    "messages": list(SYSTEMATIC),
    "max_tokens": 9,
    "temperature": 0.7,
    "stop": ["x"],
    "seed": 1,
    "presence_penalty": 0.1,
    "logprobs": True,
}


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("This model only supports stream=true", STREAM),
        (
            "This model only support stream mode, please enable the stream parameter to access the model.",
            STREAM,
        ),
        (
            "parameter.enable_thinking must be set to false for non-streaming calls",
            STREAM,
        ),
        ("Streaming is required for this model", STREAM),
        (
            "O-series models don't support temperature=0.7. Only temperature=1 is supported.",
            "temperature",
        ),
        ("`temperature` is deprecated for this model.", "temperature"),
        (
            "`temperature` may only be set to 1 when thinking is enabled.",
            "temperature",
        ),
        ("Argument not supported on this model: stop", "stop"),
        (
            "Malformed input request: extraneous key [stop] is not permitted, please reformat your input",
            "stop",
        ),
        (
            "x does not support parameters: ['seed'], for model=y. To drop these, set drop_params",
            "seed",
        ),
        ("Penalty is not enabled for this model", "presence_penalty"),
        ("property 'logprobs' is unsupported", "logprobs"),
        ("Only user and assistant roles are supported!", SYSTEM),
        ("This model does not support system messages.", SYSTEM),
        (
            "After the optional system message, conversation roles must alternate user/assistant",
            "",
        ),
        ("The system is down", ""),
        ("messages: text content blocks must be non-empty", ""),
        ("Please stop sending unsupported content", ""),
    ],
)
def test_providers_words(words, rule):
    assert refused_by(Problem(400, "", "", words), BODY) == rule


def test_two_fields_that_exclude_each_other():
    assert (
        refused_by(
            Problem(400, "", "", "temperature and top_p cannot both be set"),
            {**BODY, "top_p": 0.9},
        )
        == BOTH
    )
    assert (
        refused_by(Problem(503, "", "", "temperature is not supported"), BODY)
        == ""
    )


def test_a_problem_in_the_shapes_of_servers():
    assert (
        read_problem(
            422,
            b'{"detail":[{"loc":["body","max_tokens"],"msg":"value is too large","type":"v"}]}',
        ).message
        == "max_tokens: value is too large"
    )
    assert read_problem(404, b'{"detail":"Not Found"}').message == "Not Found"
    assert (
        read_problem(
            200, b'{"error":{"message":"upstream overloaded","code":502}}'
        ).status
        == 502
    )


def test_the_table_of_models_says_so_ahead_of_time():
    assert {"max_tokens", "temperature"} <= set(unsupported_fields("o3-mini"))
    assert "temperature" not in unsupported_fields("gpt-5.1")
    assert (
        unsupported_fields("gpt-4o-mini")
        == unsupported_fields("no-such-model")
        == []
    )
    assert SYSTEM in unsupported_fields("gemini/gemma-3-27b-it")


def test_a_run_says_it_once_and_keys_are_those_of_the_pack(
    tmp_path, problems, capsys
):
    options = {
        "limit": 12,
        "overrides": {
            "rationale.sampling.temperature": 0.7,
            "rationale.sampling.max_tokens": 99,
        },
    }
    with serving(provider) as server:
        whole = [
            synth.run(
                "cot",
                problems,
                teacher=f"openai/{m}",
                output=tmp_path / m,
                api_base=server.url,
                **options,
            )
            for m in ("thinker", "plain")
        ]
        said = capsys.readouterr().err
        asked = len(server.bodies)
        again = synth.run(
            "cot",
            problems,
            teacher="openai/thinker",
            output=tmp_path / "thinker",
            api_base=server.url,
            **options,
        )
        assert len(server.bodies) == asked
    assert said.count("max_completion_tokens in the place") == 1
    assert set(again.info["adapted"]["openai/thinker"]) >= {
        "max_tokens",
        "temperature",
    }
    assert whole[1].info["adapted"] == {}
    assert again.counts == whole[0].counts


def test_a_budget_bounds_what_is_asked_under_another_name(tmp_path, problems):
    """The worst case is that of the pack's bound, whatever the field is called on the way."""
    options = {
        "limit": 8,
        "overrides": {"rationale.sampling.max_tokens": 64},
        "price": "1,1",
    }
    with serving(provider) as server:
        poor = synth.run(
            "cot",
            problems,
            teacher="openai/thinker",
            output=tmp_path / "a",
            api_base=server.url,
            budget=1e-9,
            **options,
        )
        assert (poor.exit_code, server.bodies) == (4, [])
        rich = synth.run(
            "cot",
            problems,
            teacher="openai/thinker",
            output=tmp_path / "b",
            api_base=server.url,
            budget=1.0,
            **options,
        )
        assert rich.info["cost"]["usd"] == pytest.approx(8 * 18e-6)
    assert {
        body.get("max_completion_tokens")
        for body in server.bodies
        if "max_tokens" not in body
    } == {64}
