"""Self-taught curriculum: what a first student answers rightly comes first, and each stage keeps the rows before it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    *(
        {"question": f"Is it {n} ?", "rationale": "Yes .", "target": "1"}
        for n in range(4)
    ),
    *(
        {
            "question": f"What is {n} times {n + 1} ?",
            "rationale": "Count it all out one after the other in a long row .",
            "target": str(n * n + n),
        }
        for n in (5, 6)
    ),
]


def test_what_the_first_student_can_do_is_learnt_first(tmp_path):
    played = play_system(
        "self_taught_curriculum",
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        ROWS,
        steps=30,
        overrides={"longest": 8, "draws": 3, "stages": 2, "learn.max_steps": 2},
        held_out=ROWS[:1],
    )
    tried = played.rows("tried")
    assert len(tried) == 3 * len(ROWS)
    right = Counter(row["question"] for row in tried if row["right"])
    scored = played.rows("scored")
    for row in scored:
        assert row["ease"] == pytest.approx(right[row["question"]] / 3)
    easy = [row for row in scored if row["ease"] > 0]
    assert easy
    info = played.trained("learn")
    assert info["model"] == "scratch:tiny"
    # The second stage is all rows, the first one those of the larger ease.
    assert info["stages"] == [len(ROWS) // 2, len(ROWS)]
    assert (
        played.rows("plain_look")[0]["prompt"]
        == played.rows("look")[0]["prompt"]
    )
