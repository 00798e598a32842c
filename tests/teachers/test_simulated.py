"""The simulation does what its rates say, in process and over HTTP alike."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from synth.core.errors import WrongUse
from synth.core.records import Request
from synth.teachers.base import Settings, open_teacher
from synth.teachers.simulated import Rates, Simulated
from synth.teachers.simulation.server import serve
from synth.teachers.simulation.word_problems import (
    Problem,
    make_problems,
    read_problem,
)
from synth.verifiers.arithmetic_steps import ArithmeticSteps
from tests.conftest import rest_long


def attempts(spec, count=3000):
    teacher, rng = Simulated(spec, Settings()), random.Random(1)
    for row in make_problems(count, seed=1):
        problem = read_problem(row["question"])
        yield row["target"], *teacher.solve(problem, rng)


def test_problems_are_what_they_say():
    rows = make_problems(500, seed=2)
    assert len({row["question"] for row in rows}) == 500
    for row in rows:
        problem = read_problem(row["question"])
        assert str(problem.values()[-1]) == row["target"]
        assert all(0 <= value <= 19 for value in problem.values())


@pytest.mark.parametrize(
    ("name", "rate"),
    rest_long(
        [
            ("lucky", 0.3),
            ("no_marker", 0.2),
            ("cut_off", 0.2),
            ("off_format", 0.2),
        ]
    ),
)
def test_stated_rates_are_met(name, rate):
    found = Counter()
    for target, text, finish in attempts(f"perfect:{name}={rate}"):
        found["cut_off"] += finish == "length"
        found["off_format"] += "the answer is" in text
        found["no_marker"] += (
            finish == "stop"
            and "####" not in text
            and "the answer is" not in text
        )
        found["lucky"] += (
            text.endswith(f"#### {target}")
            and ArithmeticSteps().verify(text) is False
        )
    assert abs(found[name] / 3000 - rate) < 0.03, found
    assert all(count == 0 for other, count in found.items() if other != name), (
        found
    )


def test_a_perfect_teacher_is_right_and_a_systematic_one_forgets_carries():
    assert all(
        text.endswith(f"#### {target}")
        for target, text, _ in attempts("perfect", 300)
    )
    forgets = Simulated("perfect:systematic=1", Settings())
    assert (
        forgets.solve(Problem(8, (("+", 5),)), random.Random(0))[0]
        == "first 8 + 5 = 3 .\n#### 3"
    )
    assert (
        forgets.solve(Problem(12, (("-", 7),)), random.Random(0))[0]
        == "first 12 - 7 = 15 .\n#### 15"
    )


def test_same_request_same_reply_and_http_agrees():
    question = make_problems(1, seed=4)[0]["question"]
    request = Request(
        model="slips:seed=3",
        messages=({"role": "user", "content": question},),
        family="simulated",
    )

    async def both():
        teacher = Simulated("slips:seed=3", Settings())
        runner, port = await serve(teacher, 0)
        http = open_teacher(
            "openai/slips", Settings(api_base=f"http://127.0.0.1:{port}/v1")
        )
        try:
            return (
                await teacher.ask(request),
                await teacher.ask(request),
                await http.ask(request),
            )
        finally:
            await http.close()
            await runner.cleanup()

    here, again, there = asyncio.run(both())
    assert here == again == there


@pytest.mark.parametrize(
    "spec", ["nobody", "slips:slip=2", "slips:slop=0.1", "slips:slip=high"]
)
def test_wrong_specs_are_refused(spec):
    with pytest.raises(WrongUse):
        Simulated(spec, Settings())


def test_every_rate_is_documented():
    assert all(
        f"{name}:" in Rates.__doc__ for name in Rates.__dataclass_fields__
    )
