"""What a user says of calls: one declaration for runs and for filters that are used as a library."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields

import pytest

from synth.calls.call_options import CallOptions
from synth.core import registry
from synth.core.errors import WrongUse
from synth.filters.base_asking import AskingFilter
from synth.filters.critic import Critic
from synth.pipeline.prepare import RunConfig
from tests.conftest import chat, serving

ROW = {"question": "What is 2 + 2?", "rationale": "2 + 2 = 4", "answer": "4"}
YES = "<critique>ok</critique><verdict>yes</verdict>"
ASKING = [
    kind
    for name in registry.names("synth.filters")
    if issubclass(kind := registry.find("synth.filters", name), AskingFilter)
]


def test_a_run_and_every_asking_filter_have_all_options():
    options = {one.name: one.default for one in fields(CallOptions)}
    assert len(options) >= 12
    assert len(ASKING) >= 5
    for kind in (RunConfig, *ASKING):
        here = {one.name: one.default for one in fields(kind)}
        assert here.items() >= options.items()


async def hang():
    await asyncio.sleep(30)
    return chat(YES)


def test_a_judge_that_hangs_ends():
    began = time.monotonic()
    with serving(lambda body, count: hang()) as server:
        _, dropped = Critic(
            teacher="openai/judge",
            api_base=server.url,
            timeout=0.3,
            patience=0.1,
        ).split([ROW])
    assert time.monotonic() - began < 10
    assert dropped[0]["reason"] == "critic_failed"
    assert dropped[0]["marks"]["critic"]["failure"] == "timeout"


def test_requests_a_minute_are_held():
    moments = []

    def answer(body, count):
        moments.append(time.monotonic())
        return chat(YES)

    rows = [{**ROW, "answer": str(n)} for n in range(4)]
    with serving(answer) as server:
        Critic(teacher="openai/judge", api_base=server.url, rpm=240).split(rows)
    assert len(moments) == 4
    assert moments[-1] - moments[0] > 0.5  # three quarters of a second


def test_headers_and_seeds_are_sent(monkeypatch):
    monkeypatch.setenv("TENANT", "seven")
    with serving(lambda body, count: chat(YES)) as server:
        critic = Critic(
            teacher="openai/judge",
            api_base=server.url,
            header={"": {"X-Tenant": "TENANT"}},
            seed=5,
            votes=2,
        )
        assert critic.judge(ROW).keep
    assert {given["X-Tenant"] for given in server.headers} == {"seven"}
    assert sorted(body["seed"] for body in server.bodies) == [5, 6]


def test_many_servers_judge():
    with (
        serving(lambda body, count: chat(YES)) as one,
        serving(lambda body, count: chat(YES)) as two,
    ):
        rows = [{**ROW, "answer": str(n)} for n in range(20)]
        kept, _ = Critic(
            teacher="openai/judge", endpoints=f"{one.url},{two.url}"
        ).split(rows)
    assert len(kept) == 20
    assert one.bodies
    assert two.bodies


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0.0}, "critic:timeout: found 0.0; wanted a number above"),
        ({"patience": float("nan")}, "critic:patience: found nan"),
        ({"budget": -1.0, "price": "1,1"}, "critic:budget: found -1.0; wanted"),
        ({"rpm": {"openai/m": -1.0}}, "critic:rpm: found -1.0"),
        ({"rpm": {"openai/other": 1.0}}, "role 'openai/other'"),
    ],
)
def test_what_cannot_be_is_refused_before_a_call(options, said):
    critic = Critic(
        teacher="openai/m", api_base="http://127.0.0.1:9/v1", **options
    )
    with pytest.raises(WrongUse) as caught:
        critic.split([ROW])
    assert said in str(caught.value)
