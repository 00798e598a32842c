"""Faults of all kinds, mixed, at a whole run: each is accounted, none hangs, and good replies keep their rate."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random

import pytest
from aiohttp import web

import synth
from tests.calls.faulty_server import FINAL, HANGING, TEMPORARY, drawn, faulty
from tests.conftest import chat, serving

PLAIN = {"rationale.filters": []}


def rows(count):
    return [
        {"question": f"[{n}] What is 8 + 5 ?", "target": "13"}
        for n in range(count)
    ]


def always_good(question, before):
    return ""


def run(server, folder, seeds, **options):
    return synth.run(
        "cot",
        seeds,
        teacher="openai/m",
        api_base=server.url,
        output=folder,
        overrides=PLAIN,
        **options,
    )


@pytest.mark.parametrize(
    "seed",
    [
        1,
        pytest.param(2, marks=pytest.mark.long),
        pytest.param(3, marks=pytest.mark.long),
    ],
)
def test_mixed_faults_are_all_accounted_and_a_rerun_asks_what_failed_alone(
    tmp_path, seed
):
    kinds = {**TEMPORARY, **HANGING, **FINAL}
    seeds, started = rows(80), time.monotonic()
    with faulty(drawn(seed, 0.4, kinds)) as server:
        done = run(
            server, tmp_path, seeds, concurrency=16, timeout=0.5, patience=20.0
        )
        seconds = time.monotonic() - started
        asked, final = (
            server.asked.total(),
            sum(server.sent[kind] for kind in FINAL),
        )
        server.kind = always_good
        server.asked.clear()
        again = run(server, tmp_path, seeds)
    counts = done.counts
    failed = counts["failed"]
    assert (done.exit_code, counts["asked"], seconds < 60) == (3, 80, True)
    assert (
        counts["kept"] + sum(counts["dropped"].values()) + sum(failed.values())
        == 80
    )
    assert (
        sum(
            failed.get(name, 0)
            for name in ("bad_request", "context_length", "policy")
        )
        == final
        > 0
    )
    # Some calls meet a connection that the server has just closed: it never sees them.
    assert asked <= done.info["calls"]["asked"] < 2 * asked
    assert (again.exit_code, again.counts["kept"]) == (
        0,
        80 - sum(counts["dropped"].values()),
    )
    assert sorted(server.asked.values()) == [1] * sum(failed.values())


def test_each_temporary_fault_by_itself_is_asked_again(tmp_path):
    names = sorted({**TEMPORARY, **HANGING})
    number = {str(n): name for n, name in enumerate(names)}
    with faulty(
        lambda question, before: "" if before else number[_number(question)]
    ) as server:
        done = run(server, tmp_path, rows(len(names)), timeout=0.5)
    assert done.counts == {
        "asked": len(names),
        "kept": len(names),
        "dropped": {},
        "failed": {},
    }
    assert set(server.sent) == {*names, ""}
    assert sorted(server.asked.values()) == [2] * len(names)


def _number(question):
    """What stands in brackets in a question of `rows`."""
    return question.split("] What is")[0].rpartition("[")[2]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Retry-After": "3600"}, "3,6"),
        ({"x-ratelimit-reset-requests": "8m0s"}, "480 s"),
    ],
)
def test_a_wait_beyond_patience_starts_no_call_and_keeps_what_is_in_flight(
    tmp_path, headers, says
):
    """Some are refused, several at once; others are in flight then, and come in."""
    refused = Counter()

    def answer(body, count):
        if 20 < count <= 25:
            refused["refused"] += 1
            return web.json_response(
                {"error": {"message": "later"}}, status=429, headers=headers
            )
        return _slowly(0.5 if count > 10 else 0.0)

    async def _slowly(seconds):
        await asyncio.sleep(seconds)
        return chat("8 + 5 = 13\n#### 13")

    seeds = rows(300)
    with serving(answer) as server:
        started = time.monotonic()
        done = run(server, tmp_path, seeds, concurrency=16, patience=5.0)
        assert time.monotonic() - started < 10
        before = len(server.bodies)
        assert (done.exit_code, done.counts["failed"]) == (5, {})
        assert says in done.stopped
        # Nothing starts behind the refusal: at most what was in flight by then.
        assert before <= 25 + 16
        assert done.counts["kept"] <= before - refused["refused"]
        assert (
            before - refused["refused"]
            == done.info["calls"]["asked"] - refused["refused"]
        )
        server.answer = lambda body, count: chat("8 + 5 = 13\n#### 13")
        server.bodies.clear()
        again = run(server, tmp_path, seeds)
        assert (again.exit_code, again.counts["kept"]) == (0, 300)
        assert len(server.bodies) == 300 - (before - refused["refused"])


def test_a_request_is_given_up_when_its_patience_ends(tmp_path):
    with serving(
        lambda body, count: web.json_response({}, status=500)
    ) as server:
        started = time.monotonic()
        done = run(server, tmp_path, rows(3), patience=1.5)
        assert time.monotonic() - started < 8
    assert (done.exit_code, done.counts["failed"]) == (6, {"http_500": 3})


def test_a_seed_that_takes_long_holds_up_no_other(tmp_path):
    def kind(question, before):
        return "hangs" if _number(question) == "100" and not before else ""

    seeds = rows(1200)
    with faulty(kind) as server:
        started = time.monotonic()
        done = run(server, tmp_path, seeds, concurrency=8, timeout=6.0)
    assert (done.counts["kept"], time.monotonic() - started < 30) == (
        1200,
        True,
    )
    assert server.sent["hangs"] == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("count", "refused"),
    [(3000, 0), (6000, 60)],
    ids=["faults alone", "and 1 % of 429"],
)
def test_186_faults_and_bare_refusals_cost_at_most_a_tenth_of_the_rate(
    tmp_path, count, refused
):
    """At 8 in flight and 40 ms a call; what every server of limits sends (429, 503, 529) is not among the faults alone."""
    seeds = rows(count)
    kinds = sorted(
        name
        for name in TEMPORARY
        if refused or not name.startswith(("429", "503", "529"))
    )
    rng = Random(5)
    faults = {str(n): rng.choice(kinds) for n in rng.sample(range(count), 186)}
    bare = {str(n) for n in rng.sample(range(count), refused)} - faults.keys()

    def kind(question, before):
        number = _number(question)
        return (
            ""
            if before
            else faults.get(number, "429" if number in bare else "")
        )

    seconds = {}
    for name, answers in (("clean", always_good), ("faulty", kind)):
        with faulty(answers, latency=0.04) as server:
            started = time.monotonic()
            done = run(server, tmp_path / name, seeds, concurrency=8)
            seconds[name] = time.monotonic() - started
        assert done.counts["kept"] == count
    assert seconds["clean"] / seconds["faulty"] >= 0.9, seconds
