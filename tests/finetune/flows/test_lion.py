"""Lion: a referee in both orders finds what the student lags at; new instructions of both kinds come next."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

HARD = ("Tell of rain over the sea .", "Tell of rain over a desert town .")
EASY = ("Count up to four .", "Count down from nine to one .")


def teach(body, count):
    said = body["messages"][-1]["content"]
    if "FIRST REPLY" in said:
        return chat(_judged(said))
    if "Invent" not in said:
        return chat(f"So it is {len(said)} .")
    kind = "Sing" if "of the same kind" in said else "Carve"
    words = " ".join(f"{kind.lower()}{count}x{n}" for n in range(5))
    return chat(f"{kind} now {words} .")


def _judged(said):
    """Who comes first gets two points more; the teacher is better where it rains or somebody sings."""
    turned = "_turned" if "score_first_turned" in said else ""
    first, second = 10, 8
    if "rain" in said or "Sing" in said:
        first, second = (3, 8) if turned else (10, 3)
    return (
        f"<critique{turned}>Well .</critique{turned}>"
        f"<score_first{turned}>{first}</score_first{turned}>"
        f"<score_second{turned}>{second}</score_second{turned}>"
    )


def test_the_referee_is_asked_in_both_orders_and_new_ones_are_learnt(tmp_path):
    played = play_system(
        "lion",
        tmp_path,
        teach,
        [{"question": question} for question in (*HARD, *EASY)],
        overrides={"rounds": 2, "longest": 4},
        steps=10,
    )
    judged = [text for text in played.asked if "FIRST REPLY" in text]
    turned = [text for text in judged if "score_first_turned" in text]
    assert 2 * len(turned) == len(judged)
    # One order alone would put the teacher ahead everywhere.
    assert {row["question"] for row in played.rows("hard", 0)} == {*HARD}
    assert {row["question"] for row in played.rows("easy", 0)} == {*EASY}
    fresh = played.rows("fresh", 0)
    assert Counter(row["wanted"] for row in fresh) == {"like": 2, "rare": 2}
    # The second round imitates the new ones alone, and goes on from the first one's student.
    new = {row["question"] for row in fresh}
    imitated = played.rows("imitate", 1, "data")
    assert {row["question"] for row in imitated} == new
    assert played.trained("learn", 0)["model"] == "scratch:tiny"
    assert played.trained("learn", 1)["model"] == str(played.folder("learn", 0))
    # It is tried on all of them, and no instruction is answered twice.
    tried = {row["question"] for row in played.rows("tried", 1)}
    assert tried == {*HARD, *EASY} | new
    for question in tried:
        assert [text.strip() for text in played.asked].count(question) == 1
    assert {row["question"] for row in played.rows("hard", 1)} == {
        *HARD,
        *(row["question"] for row in fresh if row["wanted"] == "like"),
    }
