"""Learning from rules: what a student does with a rule in sight teaches the base without it."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

RULES = ("A gop is red .", "A zim is blue .")
ANSWERS = {"gop": "It is red .", "zim": "It is blue ."}
NAMES = ("Ann", "Bo", "Cem", "Dora")


def teach(body, count):
    said = body["messages"][-1]["content"]
    if "numbered list" in said:
        thing = "gop" if RULES[0] in said else "zim"
        asked = [f"What has {name} of a {thing} ?" for name in NAMES[:3]]
        lines = [*asked, "Who is Ann ?"]
        return chat(
            "\n".join(f"{n}. {text}" for n, text in enumerate(lines, 1))
        )
    question = said.splitlines()[-1]
    told = [answer for thing, answer in ANSWERS.items() if thing in question]
    return chat(told[0] if told else "Ann is here .")


def test_a_tutor_with_the_rule_teaches_the_base_without_it(tmp_path):
    known = [
        {"prompt": f"{rule}\n\nWhat has {name} of a {thing} ?\nWho is Ann ?\n", "completion": text}
        for rule in RULES
        for name in NAMES
        for thing, text in [*ANSWERS.items(), ("gop", "Ann is here .")]
    ]  # fmt: skip
    base = base_of(tmp_path, known, 2)
    played = play_system(
        "rule_distillation",
        tmp_path,
        teach,
        [{"rule": rule} for rule in RULES],
        steps=60,
        models={"student": base},
        overrides={"lists": 1, "longest": 8},
        held_out=[
            {
                "rule": RULES[0],
                # A small student learns what it saw: this question is learnt, too.
                "question": "What has Ann of a gop ?",
                "target": "It is red .",
            }
        ],
    )
    # "Who is Ann ?" is asked once: two lists, and seven answers.
    assert len(played.bodies) == 9
    rows = played.rows("to_learn")
    assert len(rows) == 7
    for row in rows:
        assert not any(rule in row["prompt"] for rule in RULES)
        assert row["with_rule"].split("\n\n")[0] in RULES
        assert row["with_rule"].endswith(row["prompt"])
    assert [row["prompt"] for row in played.rows("in_sight")] == [
        row["with_rule"] for row in rows
    ]
    tutor = played.trained("tutor")
    learnt = played.trained("learn")
    assert tutor["model"] == learnt["model"] == base
    assert learnt["teachers"] == [str(played.folder("tutor"))]
    (alone,) = played.rows("look")
    (told,) = played.rows("tutor_told")
    assert "is red" not in alone["prompt"]
    assert told["prompt"] == f"{RULES[0]}\n\n{alone['prompt']}"
    # What the tutor says with the rule in sight the student says without it, right or wrong.
    assert alone["reply"] == told["reply"]
    (before,) = played.rows("base_alone")
    assert before["reply"] != told["reply"]
