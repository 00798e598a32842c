"""The draw that is chosen by its words wins; a judge that chooses by place does not decide."""

from __future__ import annotations

import re

from aiohttp import web

from synth.filters.universal_self_consistency import UniversalSelfConsistency
from tests.conftest import chat, serving

ROWS = [
    {"question": "Where?", "rationale": text}
    for text in (
        "In the hall.",
        "In the hall, by the door.",
        "Upstairs.",
        "In a hall.",
    )
]


def choosing(rule):
    def answer(body, count):
        shown = re.findall(
            r"ANSWER \d+ =====\n(.*)\n", body["messages"][-1]["content"]
        )
        return chat(f"<critique>-</critique><choice>{rule(shown)}</choice>")

    return serving(answer)


def test_the_orders_differ_and_the_words_decide():
    with choosing(lambda shown: shown.index("In the hall.") + 1) as server:
        kept, dropped = UniversalSelfConsistency(
            teacher="openai/m", api_base=server.url, orders=3
        ).split(ROWS)
        assert (
            len({body["messages"][-1]["content"] for body in server.bodies})
            == 3
        )
    assert [row["rationale"] for row in kept] == ["In the hall."]
    assert {row["reason"] for row in dropped} == {"not_chosen"}
    assert kept[0]["marks"]["universal_self_consistency"]["chosen"] == 3


def test_a_choice_by_place_decides_nothing():
    with choosing(lambda shown: 1) as server:
        _, dropped = UniversalSelfConsistency(
            teacher="openai/m", api_base=server.url, orders=2
        ).split(ROWS)
    assert {row["reason"] for row in dropped} == {"no_choice"}


def test_numbers_out_of_range_and_failures_are_unknown():
    with choosing(lambda shown: 9) as server:
        assert {
            r["reason"]
            for r in UniversalSelfConsistency(
                teacher="openai/m", api_base=server.url
            ).split(ROWS)[1]
        } == {"no_choice"}
        assert len(server.bodies) == 4
    with serving(
        lambda body, count: web.Response(status=400, text="{}")
    ) as server:
        assert {
            r["reason"]
            for r in UniversalSelfConsistency(
                teacher="openai/m", api_base=server.url
            ).split(ROWS)[1]
        } == {"critic_failed"}


def test_one_text_is_asked_about_by_nobody():
    kept, _ = UniversalSelfConsistency(
        teacher="openai/m", api_base="http://127.0.0.1:9"
    ).split(ROWS[:1] * 3)
    assert len(kept) == 3
