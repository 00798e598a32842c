"""A win must hold in both orders; a judge that looks at places only keeps nothing."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from synth.filters.pairwise import Pairwise
from tests.conftest import chat, serving

ROWS = [
    {"question": "How long?", "chosen": "long reply", "rejected": "short"},
    {"question": "How long?", "chosen": "no", "rejected": "longer"},
]


def judge(rule):
    """A server whose verdict is rule(first reply, second reply)."""

    def answer(body, count):
        first, second = re.search(
            r"FIRST REPLY =====\n(.*)\n=.*SECOND REPLY =====\n(.*)\n=",
            body["messages"][-1]["content"],
        ).groups()
        return chat(
            f"<critique>-</critique><verdict>{rule(first, second)}</verdict>"
        )

    return serving(answer)


def test_both_orders_are_asked_and_agree():
    with judge(
        lambda first, second: "first" if len(first) > len(second) else "second"
    ) as server:
        kept, dropped = Pairwise(teacher="openai/m", api_base=server.url).split(
            ROWS
        )
        assert len(server.bodies) == 4
    assert kept[0]["marks"]["pairwise"] == {
        "keep": True,
        "reason": "",
        "score": 1.0,
        "orders": [1.0, 1.0],
        "flips": False,
    }
    assert dropped[0]["reason"] == "prefers_rejected"


@pytest.mark.parametrize(
    ("rule", "flips"),
    [
        (lambda a, b: "first", True),
        (lambda a, b: "second", True),
        (lambda a, b: "tie", False),
    ],
)
def test_a_judge_of_places_keeps_nothing(rule, flips):
    with judge(rule) as server:
        _, dropped = Pairwise(teacher="openai/m", api_base=server.url).split(
            ROWS
        )
    assert [row["reason"] for row in dropped] == ["tie", "tie"]
    assert {row["marks"]["pairwise"]["flips"] for row in dropped} == {flips}


def test_what_cannot_be_read_or_asked_is_unknown():
    with serving(lambda body, count: chat("Both are fine.")) as server:
        _, dropped = Pairwise(teacher="openai/m", api_base=server.url).split(
            ROWS[:1]
        )
        assert dropped[0]["reason"] == "critic_unreadable"
        assert len(server.bodies) == 4
    with serving(
        lambda body, count: web.Response(status=400, text="{}")
    ) as server:
        assert (
            Pairwise(teacher="openai/m", api_base=server.url).split(ROWS[:1])[
                1
            ][0]["reason"]
            == "critic_failed"
        )
