"""The first wrong step: counted from 1, voted on, out of range is unreadable."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from synth.filters.process_critic import ProcessCritic
from tests.conftest import chat, serving

ROW = {
    "question": "3 + 4 + 5?",
    "rationale": "3 + 4 = 7\n\n7 + 5 = 13\nSo it is 13.",
}


def says(*numbers):
    return serving(
        lambda body, count: chat(
            f"<critique>c{count}</critique><first_wrong>{numbers[(count - 1) % len(numbers)]}</first_wrong>"
        )
    )


@pytest.mark.parametrize(
    ("number", "keep", "step"),
    [
        ("0", True, None),
        ("2", False, "7 + 5 = 13"),
        ("#3.", False, "So it is 13."),
    ],
)
def test_the_step_is_named(number, keep, step):
    with says(number) as server:
        verdict = ProcessCritic(teacher="openai/m", api_base=server.url).judge(
            ROW
        )
        assert (
            len(
                re.findall(
                    r"STEP \d =====",
                    server.bodies[0]["messages"][-1]["content"],
                )
            )
            == 3
        )
    assert verdict.keep is keep
    assert verdict.marks.get("step") == step
    assert verdict.marks["steps"] == 3


@pytest.mark.parametrize("number", ["4", "-1", "two", "99999999999"])
def test_a_step_that_is_not_there_is_asked_for_again_and_then_unknown(number):
    with says(number) as server:
        assert (
            ProcessCritic(teacher="openai/m", api_base=server.url)
            .judge(ROW)
            .reason
            == "critic_unreadable"
        )
        assert len(server.bodies) == 2
    with says(number, "1") as server:
        assert (
            ProcessCritic(teacher="openai/m", api_base=server.url)
            .judge(ROW)
            .marks["first_wrong"]
            == 1
        )


def test_votes_count_and_ties_are_unknown():
    with says("2", "2", "0") as server:
        verdict = ProcessCritic(
            teacher="openai/m", api_base=server.url, votes=3, concurrency=1
        ).judge(ROW)
    assert (verdict.marks["first_wrong"], verdict.marks["share"]) == (2, 0.6667)
    with says("2", "0") as server:
        assert (
            ProcessCritic(teacher="openai/m", api_base=server.url, votes=2)
            .judge(ROW)
            .keep
            is None
        )


def test_steps_may_be_a_list_or_sentences_and_failures_are_unknown():
    assert ProcessCritic(field="steps").steps_of(
        {"steps": ["a", " ", "b"]}
    ) == ["a", "b"]
    assert ProcessCritic(cut="sentences").steps_of(
        {"rationale": "It costs $3.50. Then 4.5 more. (So 8.)"}
    ) == [
        "It costs $3.50.",
        "Then 4.5 more.",
        "(So 8.)",
    ]
    with serving(
        lambda body, count: web.Response(status=400, text="{}")
    ) as server:
        assert (
            ProcessCritic(teacher="openai/m", api_base=server.url)
            .judge(ROW)
            .reason
            == "critic_failed"
        )
