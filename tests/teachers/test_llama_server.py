"""A real server and a real model: llama.cpp's server with SmolLM2-135M, where both lie on this
machine (`python -m examples.real.models smollm2-135m` fetches the model, `make real` builds the
server). Nothing is fetched or built here.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import synth
from examples.real import models, server
from synth.calls.journal import records
from synth.filters.critic import Critic
from synth.teachers.base import Settings
from synth.teachers.openai_chat import OpenaiChat
from tests.packs.test_reply_schema import pack

NAME = "smollm2-135m"
BINARY = (
    os.environ.get("POTSTILL_LLAMA_SERVER")
    or shutil.which("llama-server")
    or (models.CACHE / "llama-server").is_file()
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (BINARY and models.MODELS[NAME].path.is_file()),
        reason="no llama.cpp server or no SmolLM2-135M on this machine",
    ),
]
QUESTIONS = [
    {"question": f"Tom has {n} apples and eats 2. How many are left?"}
    for n in range(4, 16)
]
TEXTS = [
    {"text": f"Ada Lovelace met Charles Babbage in London in 18{n}."}
    for n in range(30, 36)
]
PLAIN = {
    "rationale.sampling.temperature": 0.0,
    "rationale.sampling.max_tokens": 40,
}


@pytest.fixture(scope="module")
def url():
    with server.serving(models.fetch(NAME), slots=4) as base:
        yield base


def ran(url, folder, pack="cot", rows=QUESTIONS, **options):
    return synth.run(
        pack,
        rows,
        teacher=f"openai/{NAME}",
        api_base=url,
        api_key_env="",
        output=folder,
        keep_going=True,
        **{"overrides": PLAIN, "timeout": 300.0, **options},
    )


def replies(folder):
    return [json.loads(raw) for _, raw in records(folder / "journal")]


def test_every_call_is_answered_and_counted(url, tmp_path):
    run = ran(url, tmp_path)
    assert run.counts["asked"] == len(QUESTIONS)
    assert run.counts["failed"] == {}
    cost = run.info["cost"]
    said = replies(tmp_path)
    assert len(said) == len(QUESTIONS)
    for name in ("prompt_tokens", "completion_tokens"):
        assert cost[name] == sum(reply["usage"][name] for reply in said) > 0
    again = ran(url, tmp_path)
    assert again.info["calls"]["asked"] == 0
    assert again.counts == run.counts


def test_a_limit_of_tokens_is_a_reason(url, tmp_path):
    overrides = {**PLAIN, "rationale.sampling.max_tokens": 5}
    run = ran(url, tmp_path, overrides=overrides)
    assert {
        reply["usage"]["completion_tokens"] for reply in replies(tmp_path)
    } == {5}
    assert {row["reason"] for row in run.dropped} <= {
        "cut_off",
        "truncated",
        "no_number",
        "no_answer_marker",
        "finish_length",
    }
    assert run.counts["kept"] == 0


def test_stops_and_seeds_reach_the_model(url, tmp_path):
    stop = {**PLAIN, "rationale.sampling.stop": ["."]}
    ran(url, tmp_path / "stop", overrides=stop)
    for reply in replies(tmp_path / "stop"):
        assert "." not in (reply["choices"][0]["message"]["content"] or "")
    hot = {
        "rationale.sampling.temperature": 1.5,
        "rationale.sampling.max_tokens": 24,
    }
    texts = []
    for name in ("first", "second"):
        ran(
            url,
            tmp_path / name,
            rows=QUESTIONS[:3],
            overrides=hot,
            seed=11,
            concurrency=1,
        )
        texts.append(
            sorted(
                reply["choices"][0]["message"]["content"]
                for reply in replies(tmp_path / name)
            )
        )
    assert texts[0] == texts[1]


def test_log_probabilities_come_with_every_token(url, tmp_path):
    overrides = {
        **PLAIN,
        "rationale.sampling.logprobs": True,
        "rationale.sampling.top_logprobs": 3,
        "rationale.sampling.max_tokens": 6,
    }
    ran(url, tmp_path, rows=QUESTIONS[:3], overrides=overrides)
    for reply in replies(tmp_path):
        tokens = reply["choices"][0]["logprobs"]["content"]
        assert 0 < len(tokens) <= 6
        for token in tokens:
            assert token["logprob"] <= 0
            assert len(token["top_logprobs"]) == 3


def test_a_verdict_is_weighed_with_the_probability_of_its_token(url, tmp_path):
    critic = Critic(
        teacher=f"openai/{NAME}",
        pack=str(models.__file__).replace("models.py", "label_critic"),
        weigh="probability",
        scale={"yes": 1.0, "no": 0.0},
        api_base=url,
        api_key_env="",
        journal=str(tmp_path),
    )
    rows = [
        {
            "rule": "A fruit is sweet.",
            "question": f"{name} is a fruit.",
            "answer": "true",
        }
        for name in ("An apple", "A hammer", "A pear", "A brick")
    ]
    kept, dropped = critic.split(rows)
    scores = [
        row["marks"]["critic"]["score"]
        for row in (*kept, *dropped)
        if "score" in row["marks"].get("critic", {})
    ]
    assert len(kept) + len(dropped) == 4
    assert all(0 <= score <= 1 for score in scores)


def test_a_schema_holds_the_smallest_model_to_its_form(url, tmp_path):
    free = ran(
        url,
        tmp_path / "free",
        "entity_types",
        TEXTS,
        overrides={"find.sampling.max_tokens": 200},
    )
    held = ran(
        url,
        tmp_path / "held",
        "entity_types",
        TEXTS,
        overrides={"find.sampling.max_tokens": 200},
        schemas=True,
    )
    unread = {
        "no_object",
        "open_object",
        "doubled_key",
        "missing_key",
        "wrong_kind",
    }
    reasons = {row["reason"] for row in held.dropped}
    # Under its schema a reply can only be cut off.
    assert reasons & unread <= {"open_object"}
    assert held.counts["asked"] == free.counts["asked"] == len(TEXTS)


def test_draws_of_one_row_are_calls_of_their_own(url, tmp_path):
    hot = {
        "rationale.sampling.temperature": 1.2,
        "rationale.sampling.max_tokens": 16,
    }
    ran(url, tmp_path, rows=QUESTIONS[:2], overrides=hot, draws=4)
    texts = {
        reply["choices"][0]["message"]["content"] for reply in replies(tmp_path)
    }
    assert len(replies(tmp_path)) == 8
    assert len(texts) > 2


def test_more_calls_than_slots_wait_and_none_is_lost_or_doubled(url, tmp_path):
    run = ran(url, tmp_path, concurrency=32, timeout=60.0)
    assert run.counts["failed"] == {}
    assert run.info["calls"]["retried"] == 0
    assert len(replies(tmp_path)) == len(QUESTIONS)


def test_the_server_says_how_many_calls_and_how_long_it_takes(url, tmp_path):
    async def look():
        teacher = OpenaiChat(NAME, Settings(api_base=url, api_key_env=""))
        said = await teacher.capacity()
        await teacher.close()
        return said

    said = asyncio.run(look())
    assert said.slots == 4
    long = {"question": "How many? " + "apple " * said.context}
    run = ran(url, tmp_path, rows=[*QUESTIONS[:1], long])
    assert run.counts["failed"] == {"context_length": 1}


def test_two_runs_at_once_share_one_server(url, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(ran, url, tmp_path / name) for name in ("one", "two")
        ]
        done = [run.result() for run in runs]
    assert {run.counts["asked"] for run in done} == {len(QUESTIONS)}
    assert all(run.info["complete"] for run in done)


def test_a_server_that_ends_in_the_middle_is_asked_again_later(tmp_path):
    """Calls to a dead server fail with their reason; the same command goes on at the next one."""
    with server.serving(models.fetch(NAME), slots=4) as base:
        first = ran(base, tmp_path, rows=QUESTIONS[:4])
    assert first.counts["failed"] == {}
    dead = ran(base, tmp_path, patience=2.0, replace=True)
    assert dead.counts["failed"] == {"connection": len(QUESTIONS) - 4}
    with server.serving(models.fetch(NAME), slots=4) as base:
        done = ran(base, tmp_path, replace=True, same_teacher=True)
    assert done.counts["failed"] == {}
    assert len(replies(tmp_path)) == len(QUESTIONS)


def test_a_schema_holds_a_model_that_words_do_not_hold(url, tmp_path):
    folder = pack(tmp_path / "p", sampling={"max_tokens": 120, "temperature": 0.0})  # fmt: skip
    rows = [{"text": f"Text {n}: dogs bark."} for n in range(3)]
    run = ran(url, tmp_path / "o", folder, rows, overrides={})
    assert run.counts["kept"] == len(rows)
    assert {row["grade"] for row in run.kept} <= {1, 2, 3, 4, 5}
