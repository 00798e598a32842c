"""litellm behind our door: a real endpoint, its errors mapped by class."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest
from aiohttp import web

from synth.core.errors import Stopped, TeacherBusy, TeacherRefused, WrongUse
from synth.core.records import Request, Sampling
from synth.teachers.base import Settings, open_teacher
from synth.teachers.litellm import Litellm
from tests.conftest import chat, serving

REQUEST = Request(
    model="hosted_vllm/m",
    messages=({"role": "user", "content": "hi"},),
    family="litellm",
)


def ask(answer):
    with serving(answer) as server:
        return asyncio.run(
            open_teacher(
                "hosted_vllm/m", Settings(api_base=server.url, timeout=20)
            ).ask(REQUEST)
        )


def test_a_reply_and_its_errors():
    assert ask(lambda b, c: chat("four")).completion.text == "four"
    for status, kind in (
        (401, Stopped),
        (400, TeacherRefused),
        (429, TeacherBusy),
        (500, TeacherBusy),
    ):
        with pytest.raises(kind):
            ask(
                lambda b, c, status=status: web.json_response(
                    {"error": {"message": "no"}}, status=status
                )
            )


def refused(words, **more):
    return web.json_response(
        {"error": {"message": words, "type": "invalid_request_error", **more}},
        status=400,
    )


def picky(body, count):
    if body.get("temperature", 1) != 1:
        return refused(
            "Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        )
    if "seed" in body:
        return refused("Unknown parameter: 'seed'")
    if any(message["role"] == "system" for message in body["messages"]):
        return refused("System role not supported")
    return chat("four")


def test_what_a_model_refuses_is_left_out(tmp_path, capsys):
    messages = ({"role": "system", "content": "Be brief."}, *REQUEST.messages)
    request = replace(
        REQUEST,
        messages=messages,
        sampling=Sampling(temperature=0.7, seed=1, max_tokens=9),
    )
    with serving(picky) as server:

        async def both():
            teacher = open_teacher(
                "hosted_vllm/m",
                Settings(api_base=server.url, timeout=20, folder=tmp_path),
            )
            replies = [await teacher.ask(request), await teacher.ask(request)]
            return replies, dict(teacher.adapted)

        replies, noted = asyncio.run(both())
    assert [reply.completion.text for reply in replies] == ["four", "four"]
    assert set(noted) == {"temperature", "seed", "system messages"}
    assert len(server.bodies) == 5
    assert server.bodies[-1]["messages"] == [
        {"role": "user", "content": "Be brief.\n\nhi"}
    ]
    assert capsys.readouterr().err.count("synth: note:") == 3


def test_an_address_without_v1_is_named():
    with serving(lambda b, c: chat("four")) as server:
        base = server.url.removesuffix("/v1")
        teacher = open_teacher(
            "hosted_vllm/m", Settings(api_base=base, timeout=20)
        )
        with pytest.raises(Stopped, match=r"--api-base .*/v1"):
            asyncio.run(teacher.ask(REQUEST))


def test_names_need_a_provider():
    with pytest.raises(WrongUse, match="PROVIDER/MODEL"):
        open_teacher("gpt-4o")


def test_a_provider_that_litellm_does_not_know_is_found_before_any_call():
    with pytest.raises(WrongUse, match=r"no such provider.*openai/qwen"):
        open_teacher("nosuch/qwen", Settings())


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("opnai/m", "openai/m"),
        ("rehersed/cot", "rehearsed/cot"),
        ("simulatd/mixed", "simulated/mixed"),
        ("antropic/m", "anthropic/m"),
    ],
)
def test_a_misspelt_provider_is_answered_with_the_one_that_is_near(name, meant):
    with pytest.raises(WrongUse, match=rf"Did you mean {meant}\?"):
        open_teacher(name, Settings())


def test_providers_are_those_of_litellm():
    import litellm

    from synth.teachers.litellm import _providers

    assert _providers() == {one.value for one in litellm.LlmProviders}


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("anthropic/claude-x", "ANTHROPIC_API_KEY"),
        ("groq/m", "GROQ_API_KEY"),
        ("together_ai/m", "TOGETHERAI_API_KEY"),
    ],
)
def test_a_missing_key_is_said_before_a_call(model, variable, monkeypatch):
    for name in list(os.environ):
        if name.startswith(variable[:5]):
            monkeypatch.delenv(name)
    with pytest.raises(WrongUse, match=f"{variable}.* in the environment"):
        Litellm(model, Settings())
    # Where the user says how it is reached, the user is believed.
    Litellm(model, Settings(api_base="http://127.0.0.1:9"))
    Litellm(model, Settings(api_key_env=""))
    monkeypatch.setenv("A_KEY_OF_MINE", "k" * 20)
    Litellm(model, Settings(api_key_env="A_KEY_OF_MINE"))
    # litellm takes some keys from variables of several names.
    monkeypatch.setenv(variable.replace("TOGETHERAI", "TOGETHER"), "k" * 20)
    Litellm(model, Settings())


@pytest.mark.parametrize("model", ["bedrock/m", "vertex_ai/m", "ollama/m"])
def test_keys_that_lie_elsewhere_are_not_asked_for(model):
    Litellm(model, Settings())
