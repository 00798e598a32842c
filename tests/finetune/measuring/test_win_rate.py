"""A judge is asked in both orders; a win counts where it holds in both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from finetune.measuring.win_rate import counted
from synth.core.errors import WrongUse
from synth.core.records import Verdict
from tests.conftest import chat, serving, write
from tests.finetune.test_train import finetune


def rows(replies: list[str]) -> list[dict[str, Any]]:
    return [
        {"prompt": f"q{n}", "target": "5", "reply": reply, "right": False}
        for n, reply in enumerate(replies)
    ]


def test_ties_count_half_and_what_was_not_judged_not_at_all():
    found = counted(
        [
            Verdict(True, ""),
            Verdict(False, "prefers_rejected"),
            Verdict(False, "tie", {"flips": True}),
            Verdict(False, "same_text"),
            Verdict(None, "critic_failed"),
            Verdict(True, ""),
        ]
    )
    assert (found.wins, found.losses, found.ties) == (2, 1, 2)
    assert (found.unjudged, found.flips, found.questions) == (1, 1, 6)
    assert found.rate == pytest.approx(3 / 5)
    assert found.low <= found.rate <= found.high


def test_nothing_judged_is_refused():
    with pytest.raises(WrongUse, match="no verdict"):
        counted([Verdict(None, "critic_failed")])


def judge(body: dict[str, Any], _: int) -> Any:
    """Likes GOOD better than BAD, and of two others the one that stands first."""
    text = body["messages"][-1]["content"]
    good, bad = text.find("GOOD"), text.find("BAD")
    if good >= 0 and bad >= 0:
        name = "first" if good < bad else "second"
        return chat(f"<critique>-</critique><verdict>{name}</verdict>")
    return chat("<critique>-</critique><verdict>first</verdict>")


def test_a_command_asks_both_orders_and_keeps_the_replies(tmp_path):
    first = write(
        tmp_path / "1.jsonl", rows(["BAD", "GOOD", "one", "same", "BAD"])
    )
    second = write(
        tmp_path / "2.jsonl", rows(["GOOD", "BAD", "two", "same", "GOOD"])
    )
    with serving(judge) as server:
        command = [
            "compare", first, second, "--judge", "openai/j", "--judge-api-base", server.url,
            "--judge-journal", tmp_path / "journal", "--json",
        ]  # fmt: skip
        code, said = finetune(*command)
        assert code == 0, said
        found = json.loads(said)["judged"]
        # Two orders of each question but the one whose replies are the same.
        assert len(server.bodies) == 8
        code, again = finetune(*command)
        assert json.loads(again)["judged"] == found
        assert len(server.bodies) == 8
    assert (found["wins"], found["losses"], found["ties"]) == (2, 1, 2)
    assert found["flips"] == 1
    assert found["rate"] == pytest.approx(0.6)
    code, said = finetune("compare", first, second, *command[3:-1])
    assert code == 0
    assert "2 wins, 1 losses, 2 ties" in said


def test_other_questions_are_refused(tmp_path):
    first = write(tmp_path / "1.jsonl", rows(["a", "b"]))
    second = write(tmp_path / "2.jsonl", rows(["a"]))
    code, said = finetune(
        "compare", first, second, "--judge", "openai/j", "--judge-api-base", "http://127.0.0.1:9/v1"
    )  # fmt: skip
    assert code == 2
    assert "questions that one" in said


def test_what_reaches_a_judge_wants_a_judge(tmp_path):
    first = write(tmp_path / "1.jsonl", rows(["a"]))
    code, said = finetune("compare", first, first, "--judge-budget", 1)
    assert code == 2
    assert "--judge" in said
