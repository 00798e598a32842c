"""How a model is told to think, in each provider's words, and where its thoughts go."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.calls.price import most_tokens
from synth.core.errors import WrongUse
from synth.exports.messages import Messages
from synth.exports.sft import Sft
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder
from synth.teachers.wire import thoughts
from synth.teachers.wire.thoughts import dialect_at, dialect_of, told_to_think
from tests.conftest import chat, serving
from tests.teachers.test_capacity import LLAMA, SGLANG, VLLM, saying

QUESTION = [{"question": "What is 2 + 3?"}]
ON = {"enable_thinking": True, "thinking": True}
OFF = {"enable_thinking": False, "thinking": False}


@pytest.mark.parametrize(
    ("dialect", "effort", "budget", "wanted"),
    [
        ("", "low", None, {"reasoning_effort": "low"}),
        ("", None, 3000, {"reasoning_effort": "high"}),
        ("", "low", 3000, {"reasoning_effort": "low"}),
        ("budgeted", "low", 3000, {"thinking": {"type": "enabled", "budget_tokens": 3000}}),
        ("budgeted", "low", None, {"reasoning_effort": "low"}),
        ("budgeted", "none", 3000, {"reasoning_effort": "none"}),
        ("deepseek", "none", None, {"thinking": {"type": "disabled"}}),
        ("deepseek", "high", 99, {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("deepseek", None, 99, {"thinking": {"type": "enabled"}}),
        ("openrouter", "low", None, {"reasoning": {"effort": "low"}}),
        ("openrouter", None, 99, {"reasoning": {"max_tokens": 99}}),
        ("openrouter", "none", None, {"reasoning": {"enabled": False}}),
        ("dashscope", None, 99, {"enable_thinking": True, "thinking_budget": 99}),
        ("dashscope", "none", 99, {"enable_thinking": False}),
        ("vllm", None, 99, {"chat_template_kwargs": ON, "thinking_token_budget": 99}),
        ("vllm", "none", None, {"chat_template_kwargs": OFF, "reasoning_effort": "none"}),
        ("llamacpp", "none", 99, {"chat_template_kwargs": OFF}),
        ("sglang", "high", None, {"chat_template_kwargs": {**ON, "reasoning_effort": "high"}}),
    ],
)  # fmt: skip
def test_each_provider_in_its_own_words(dialect, effort, budget, wanted):
    said = {"reasoning_effort": effort, "thinking_tokens": budget}
    body = {"n": 1, **{k: v for k, v in said.items() if v is not None}}
    assert told_to_think(body, dialect) == {"n": 1, **wanted}
    assert "n" in body


@given(
    effort=st.sampled_from([None, "none", "low", "max"]),
    budget=st.one_of(st.none(), st.integers(1, 99_999)),
    dialect=st.sampled_from(["", "budgeted", "deepseek", "openrouter", "dashscope", "vllm", "llamacpp", "sglang", "other"]),
)  # fmt: skip
def test_no_provider_sees_our_name_or_may_think_longer(effort, budget, dialect):
    said = {"reasoning_effort": effort, "thinking_tokens": budget}
    body = {"max_tokens": 5, **{k: v for k, v in said.items() if v is not None}}
    sent = told_to_think(body, dialect)
    assert "thinking_tokens" not in sent
    assert most_tokens(sent) <= most_tokens(body)


def test_a_body_that_says_nothing_stays_as_it_is():
    body = {"max_tokens": 5}
    assert told_to_think(body, "vllm") is body


def test_hosts_and_names():
    assert dialect_at("https://openrouter.ai/api/v1") == "openrouter"
    assert dialect_at("https://notdeepseek.com/v1") == ""
    assert dialect_of("gemini/x") == "budgeted"
    assert dialect_of("groq/x") == ""
    assert thoughts.nearest_effort(1024) == "low"


STEP = "rationale"


def ran(server, folder, reasoning=None, **overrides):
    changes = {f"{STEP}.reasoning": reasoning} if reasoning else {}
    return synth.run(
        "cot",
        QUESTION,
        teacher="openai/qwen",
        api_base=server.url,
        api_key_env="",
        output=folder,
        overrides={**changes, **overrides},
    )


@pytest.mark.parametrize(
    ("says", "field"),
    [
        (VLLM, "thinking_token_budget"),
        (LLAMA, "chat_template_kwargs"),
        (SGLANG, "chat_template_kwargs"),
        ({}, "reasoning_effort"),
    ],
)
def test_a_server_is_told_in_its_own_words(tmp_path, says, field):
    with saying(says) as server:
        ran(server, tmp_path, {"budget": 100})
    [body] = server.posted
    assert field in body
    assert "thinking_tokens" not in body


def apart(*_):
    said = chat("2 + 3 = 5.\n#### 5")
    said["choices"][0]["message"]["reasoning_content"] = "Two and three."
    return said


@pytest.mark.parametrize(
    "answer",
    [apart, lambda *_: chat("<think>Two and three.</think>2 + 3 = 5.\n#### 5")],
)
def test_thoughts_are_kept_apart_and_exported_with_or_without(tmp_path, answer):
    with serving(answer) as server:
        plain = ran(server, tmp_path)
        assert "thoughts" not in plain.kept[0]
        run = ran(server, tmp_path, {"keep": "thoughts"})
        assert len(server.bodies) == 1, "keeping thoughts asks nothing again"
    row = run.kept[0]
    assert row["thoughts"] == "Two and three."
    assert "Two and" not in row["rationale"] + row["completion"]
    folder, pack = RunFolder(tmp_path), Pack.load("cot", {f"{STEP}.reasoning": {"keep": "thoughts"}})  # fmt: skip
    [without] = Sft().rows(folder, pack)
    [tags] = Sft(thoughts="tags").rows(folder, pack)
    assert tags["completion"] == f"<think>\nTwo and three.\n</think>\n\n{without['completion']}"  # fmt: skip


def test_messages_hold_thoughts_apart(tmp_path):
    spec = {
        "name": "talk",
        "version": 1,
        "about": "Answers.",
        "inputs": {"question": "text"},
        "steps": [{"name": "say", "parser": "whole", "reasoning": {"keep": "thoughts"}}],
        "exports": {"messages": {"system": "", "prompt": "{{ question }}", "completion": "{{ text }}"}},
    }  # fmt: skip
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "pack.yaml").write_text(json.dumps(spec))
    (tmp_path / "p" / "say.user.j2").write_text("{{ question }}")
    with serving(apart) as server:
        synth.run(tmp_path / "p", QUESTION, teacher="openai/m", api_base=server.url, output=tmp_path / "o")  # fmt: skip
    folder, pack = RunFolder(tmp_path / "o"), Pack.load(tmp_path / "p")
    [plain] = Messages().rows(folder, pack)
    [held] = Messages(thoughts="apart").rows(folder, pack)
    [tags] = Messages(thoughts="tags").rows(folder, pack)
    assert held["messages"][-1] == {**plain["messages"][-1], "reasoning_content": "Two and three."}  # fmt: skip
    assert tags["messages"][-1]["content"].startswith("<think>\nTwo and three.")
    with pytest.raises(WrongUse, match="keep"):
        list(
            Messages(thoughts="apart").rows(folder, Pack.load("context_talks"))
        )


@pytest.mark.parametrize(
    ("reasoning", "more"),
    [
        ({"effort": "low"}, {f"{STEP}.sampling.reasoning_effort": "high"}),
        ({"budget": 600}, {f"{STEP}.sampling.max_tokens": 600}),
        ({"budget": 0}, {}),
        ({"effort": "much"}, {}),
        ({"keep": "id"}, {}),
        ({"tokens": 5}, {}),
    ],
)
def test_what_cannot_be_is_refused(reasoning, more):
    with pytest.raises(WrongUse):
        Pack.load("cot", {f"{STEP}.reasoning": reasoning, **more})
