"""I2D2: a student's own statements that a trained critic keeps are what it learns, round after round."""

from __future__ import annotations

import json

import pytest

from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

CONCEPTS = ("Dogs", "Cats", "Cows", "Hens", "Pigs", "Bees", "Owls", "Ants")
TRUE = ("kind and warm", "living things", "small animals")
FALSE = ("old stones", "blue metals", "wet planets")


def test_a_trained_critic_keeps_what_the_student_learns(tmp_path):
    first = [
        {"prompt": f"{concept} are\n", "completion": text}
        for concept in CONCEPTS
        for text in (*TRUE, *FALSE)
    ]
    # A student that says true and false things alike.
    writer = base_of(tmp_path, first, 60)
    judged = [
        {"concept": concept, "frame": "are", "rest": text, "is_correct": good}
        for concept in CONCEPTS
        for texts, good in ((TRUE, True), (FALSE, False))
        for text in texts
    ]
    played = play_system(
        "generics_plain",
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        [{"concept": concept, "frame": "are"} for concept in CONCEPTS],
        judged=judged,
        models={"student": writer, "critic": "scratch:tiny"},
        steps=40,
        overrides={"patience": 0, "draws": 4, "learn.max_steps": 10},
    )
    learnt = [played.folder("learn", n) for n in range(2)]
    models = [played.trained("learn", n)["model"] for n in range(2)]
    assert models == [writer, str(learnt[0])]
    for n in range(2):
        rows = played.rows("good", n, "kept")
        assert 0 < len(rows) < len(played.rows("written", n))
        texts = [(row["question"], row["rest"]) for row in rows]
        assert len(set(texts)) == len(texts)
        # It has learnt "kind and warm", and is kept from saying it.
        written = [row["reply"] for row in played.rows("written", n)]
        assert any("kind" in reply.split() for reply in written)
        assert not any("and" in reply.split() for reply in written)
        for row in rows:
            (mark,) = [v for v in row["marks"].values() if "score" in v]
            assert mark["score"] >= 0.5
        assert [
            (row["prompt"], row["completion"])
            for row in played.rows("to_learn", n)
        ] == [(f"{question}\n", rest) for question, rest in texts]
    # The critic is one model, trained once on what people judged.
    assert played.trained("judge")["model"] == "scratch:tiny"
    dropped = played.rows("good", 0, "kept.dropped")
    assert {row["reason"] for row in dropped} <= {"low_score"}
    words = json.dumps([row["rest"] for row in dropped])
    assert any(text.split()[0] in words for text in FALSE)
