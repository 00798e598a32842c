"""The cap over whole runs: random packs that set every field that a pack may set, and a server that bills by what it is sent."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from aiohttp import web

import synth
from synth.core.errors import WrongUse
from synth.packs.pack import Pack
from synth.packs.rights import KEYS, NAMED, SCHEMAS, SIMPLE
from tests.conftest import serving

CASES_A_PART = 50
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "description": "x" * 40}},
}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "y" * 60, "parameters": SCHEMA},
}


def field_value(name: str, rng: random.Random) -> Any:
    """A value that a pack may give a field of `sampling.extra`; some of them nobody can bound."""
    if name in SCHEMAS:
        return SCHEMA
    if name in KEYS:
        keys = rng.sample(sorted(KEYS[name]), rng.randint(1, len(KEYS[name])))
        return {
            key: SCHEMA
            if key == "json"
            else rng.choice((rng.randrange(300), "enabled", True))
            for key in keys
        }
    if name == "tools":
        return [TOOL] * rng.randint(1, 4)
    if name == "tool_choice":
        return "auto"
    if name == "logit_bias":
        return {"17": 3, "18": -5}
    if name == "response_format":
        return {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": SCHEMA},
        }
    return rng.choice(
        (
            rng.randrange(400),
            rng.randrange(1, 60),
            0.5,
            "low",
            True,
            [1, 2],
            None,
            "50",
            -3,
        )
    )


def sampling(rng: random.Random) -> dict[str, Any]:
    """Any sampling that a pack may say."""
    found: dict[str, Any] = (
        {"max_tokens": rng.randrange(1, 200)} if rng.random() < 0.85 else {}
    )
    choices = {"temperature": 0.3, "top_p": 0.9, "stop": ["END"], "seed": 3, "presence_penalty": 0.1, "frequency_penalty": 0.1,
               "logprobs": True, "top_logprobs": 3, "reasoning_effort": "low"}  # fmt: skip
    assert {*choices, "max_tokens"} == NAMED
    found |= {
        name: value for name, value in choices.items() if rng.random() < 0.2
    }
    every = sorted(
        {
            *SIMPLE,
            *SCHEMAS,
            *KEYS,
            "tools",
            "tool_choice",
            "logit_bias",
            "response_format",
        }
    )
    names = rng.sample(every, rng.choice((0, 0, 1, 2, 5)))
    if rng.random() < 0.3:
        names.append(
            rng.choice(
                (
                    "max_completion_tokens",
                    "min_tokens",
                    "thinking",
                    "reasoning",
                    "tools",
                    "thinking_budget",
                )
            )
        )
    extra = {name: field_value(name, rng) for name in names}
    return {**found, "extra": extra} if extra else found


def pack(folder, rng: random.Random) -> None:
    """One to three steps with draws, walks, rescues, formats, votes and critics."""
    steps: list[dict[str, Any]] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        step: dict[str, Any] = {
            "name": f"s{number}",
            "sampling": sampling(rng),
            "draws": rng.choice((1, 1, 3)),
        }
        step["parser"] = {"name": "whole", "into": f"said{number}"}
        if rng.random() < 0.2:
            step["response_format"] = {"type": "json_object"}
        if rng.random() < 0.15:
            step["each"] = {"parts": f"part{number}"}
            step["parser"] = {"name": "whole", "into": f"bit{number}"}
        if rng.random() < 0.15:
            step["teacher"] = "second"
        if number and rng.random() < 0.2:
            step["rescues"] = f"s{number - 1}"
        if rng.random() < 0.3:
            step["filters"] = [
                {
                    "name": "critic",
                    "teacher": rng.choice(("critic", "second")),
                    "votes": rng.choice((1, 2)),
                }
            ]
        steps.append(step)
    spec = {"name": "any", "version": 1, "about": "x", "inputs": {"question": "text", "answer": "text", "rationale": "text",
            "parts": {"type": "list"}}, "steps": steps}  # fmt: skip
    if rng.random() < 0.3:
        spec["prices"] = {"openai/a": "0,0", "openai/b": "0.1,0"}
    folder.mkdir(parents=True)
    (folder / "pack.yaml").write_text(json.dumps(spec, indent=1))
    for step in steps:
        words = "{{ question }} {{ answer }} {{ rationale }}" + (
            f" {{{{ part{step['name'][1:]} }}}}"
            if "each" in step
            else "{{ parts|length }}"
        )
        (folder / f"{step['name']}.user.j2").write_text(
            words
            + rng.choice(("", 'ünï 漢字 \\ " ')) * rng.randrange(30)
            + "\n"
        )


def tokens_out(body: dict[str, Any]) -> int:
    """What the least sparing server may write: the largest of the bounds, and every budget of thoughts on top of it."""
    most = max(
        body[name]
        for name in ("max_tokens", "max_completion_tokens", "min_tokens")
        if type(body.get(name)) is int
    )
    thoughts = [body.get("thinking_budget"), body.get("thinking_token_budget")]
    for name, key in (
        ("thinking", "budget_tokens"),
        ("reasoning", "max_tokens"),
        ("chat_template_kwargs", "thinking_budget"),
    ):
        thoughts.append((body.get(name) or {}).get(key))
    return most + sum(
        count for count in thoughts if type(count) is int and count > 0
    )


def bill(
    body: dict[str, Any],
    rng: random.Random,
    prices: dict[str, tuple[float, float]],
) -> tuple[float, dict[str, Any]]:
    """What a provider bills: a token for up to every byte sent and its template's words, and as many out as the fields allow."""
    low, high = prices[body["model"]]
    sent = sum(
        len(message["content"].encode()) + rng.randrange(5, 16)
        for message in body["messages"]
    ) + rng.randrange(60)
    for name in (
        "tools",
        "response_format",
        "guided_json",
        "json_schema",
        "structured_outputs",
    ):
        if body.get(name):
            sent += len(
                json.dumps(body[name], ensure_ascii=False).encode()
            ) + rng.randrange(100, 600) * (name == "tools")
    most = tokens_out(body)
    made = rng.choice((most, rng.randint(0, most)))
    usage = {"prompt_tokens": sent, "completion_tokens": made}
    written = rng.choice((0, sent))
    if written:
        usage["prompt_tokens_details"] = {
            "cached_tokens": 0,
            "cache_creation_tokens": written,
        }
    return (
        (sent - written) * low + written * 2 * low + made * high
    ) / 1e6, usage


def one(case: int, folder, server) -> str:
    """One random pack, run under a random budget; never over."""
    rng = random.Random(case)
    pack(folder / "pack", rng)
    prices = {
        name: (rng.uniform(0.1, 20), rng.uniform(0.1, 60)) for name in "abc"
    }
    bills: list[float] = []

    async def answer(body, count):
        await asyncio.sleep(rng.random() * 0.002)
        usd, usage = bill(body, rng, prices)
        bills.append(usd)
        luck = rng.random()
        if luck < 0.02:
            return web.Response(
                text='{"choices": ['
            )  # billed, and nothing to show for it
        text = rng.choice(
            (
                "It is so.\n#### 4",
                "<critique>x</critique><verdict>yes</verdict>",
                "<critique>x</critique><verdict>no</verdict>",
            )
        )
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        reply = {
            "model": body["model"],
            "choices": [choice] * (body.get("n") or 1),
        }
        return {**reply, "usage": usage} if luck < 0.9 else reply

    rows = [
        {
            "question": f"What is {n} ?",
            "answer": "4",
            "rationale": "so",
            "parts": ["a", "b"],
        }
        for n in range(rng.choice((3, 12)))
    ]
    budget = 10 ** rng.uniform(-4, 0.5)
    said = {
        role: f"{low},{high},{low},{2 * low}"
        for role, (low, high) in zip(
            ("teacher", "critic", "second"), prices.values(), strict=True
        )
    }
    teachers = {
        "teacher": "openai/a",
        "critic": "openai/b",
        "second": "openai/c",
    }
    server.answer = answer
    needed = Pack.load(folder / "pack").roles
    try:
        done = synth.run(
            folder / "pack", rows, teacher={r: t for r, t in teachers.items() if r in needed}, output=folder / "out", budget=budget,
            api_base=server.url, price={r: p for r, p in said.items() if r in needed}, concurrency=rng.choice((1, 8, 64)),
        )  # fmt: skip
    except WrongUse as refused:
        assert not bills, refused  # before the first call
        assert "budget" in str(refused), refused
        return "refused"
    assert sum(bills) <= budget * (1 + 1e-9), (case, sum(bills), budget)
    assert done.info["cost"]["usd"] <= budget * (1 + 1e-6) + 1e-6
    return "stopped" if done.exit_code == 4 else "finished"


@pytest.mark.parametrize(
    "part",
    [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 40))],
)
def test_no_pack_crosses_the_budget(part, tmp_path):
    cases = range(part * CASES_A_PART, (part + 1) * CASES_A_PART)
    with serving(lambda body, count: None) as server:
        ends = [one(case, tmp_path / str(case), server) for case in cases]
    counts = {
        end: ends.count(end) for end in ("refused", "stopped", "finished")
    }
    assert min(counts.values()) >= CASES_A_PART // 10, counts
