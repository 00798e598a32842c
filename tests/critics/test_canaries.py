"""Forged rows: each differs from the right row that it was made from, and none says what is right."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.equal import same_answer
from synth.core.aio import run_async
from synth.core.errors import Stopped
from synth.core.records import Verdict
from synth.critics.canaries import (
    FEWEST_ROWS,
    RIGHT,
    calls_of,
    forge,
    try_critics,
)
from synth.verifiers.arithmetic_steps import ArithmeticSteps

KINDS = [kind for kind, _ in forge(RIGHT[0])]
ANSWERS = st.integers(-99, 9999).map(str) | st.sampled_from(["blue", "Ann", ""])


@given(st.text(max_size=60), ANSWERS)
def test_a_forged_row_claims_another_answer_or_another_rationale(text, answer):
    row = {"rationale": text, "answer": answer}
    for kind, forged in forge(row):
        changed = forged["answer"] != answer or forged["rationale"] != text
        assert changed, kind
        assert set(forged) == {"rationale", "answer"}
    assert row == {"rationale": text, "answer": answer}


@given(st.integers(0, 10**6))
def test_another_answer_is_never_the_same_by_value(number):
    for kind, forged in forge({"rationale": "a", "answer": f"${number}"}):
        assert not same_answer(forged["answer"], f"${number}"), kind


@pytest.mark.parametrize("row", RIGHT)
def test_the_steps_of_right_rows_hold_and_one_of_the_forged_ones_does_not(row):
    verify = ArithmeticSteps().verify
    assert verify(row["rationale"]) is True
    forged = dict(forge(row))
    assert verify(forged["wrong steps"]["rationale"]) is False
    assert forged["wrong steps"]["answer"] == row["answer"]
    assert [*forged] == KINDS
    assert len(set(KINDS)) == 8


def test_a_text_without_a_number_has_no_wrong_steps():
    forged = dict(forge({"rationale": "Ice floats.", "answer": "yes"}))
    assert "wrong steps" not in forged
    assert forged["empty"]["answer"] == "not yes"


@pytest.mark.parametrize("digits", ["7" * 5000, "٣" * 3, "9" * 40])
def test_numbers_of_any_length_and_script_are_forged(digits):
    rows = dict(forge({"rationale": f"{digits} + 1 = 2", "answer": digits}))
    assert rows["another answer"]["answer"] != digits
    assert rows["wrong steps"]["rationale"] != f"{digits} + 1 = 2"


def judge(accepts, *, name="critic", limit=0.05):
    """A critic that accepts what the function says."""

    async def verdicts(rows, doors=None):
        return [Verdict(accepts(row)) for row in rows]

    inputs = {
        "question": SimpleNamespace(optional=False),
        "rationale": SimpleNamespace(optional=False),
    }
    spec = SimpleNamespace(inputs=inputs)
    return SimpleNamespace(
        name=name,
        fooled=limit,
        teacher="openai/judge",
        pack="critic_faithful",
        loaded=SimpleNamespace(spec=spec),
        verdicts=verdicts,
        calls=lambda rows: 2 * rows,
    )


def test_a_critic_is_tried_before_long_runs_alone():
    part = judge(bool)
    assert calls_of(part, FEWEST_ROWS - 1) == 0
    # Empty rationales are refused without a call; right rows are asked about too.
    tried = len(RIGHT) * len(KINDS)
    assert calls_of(part, FEWEST_ROWS) == 2 * tried
    assert calls_of(judge(bool, name="length"), 10**6) == 0
    assert calls_of(judge(bool, limit=1.0), 10**6) == 0


def test_a_gullible_critic_stops_the_run_with_what_fooled_it():
    gullible = judge(lambda row: "Ignore the rubric" not in row["rationale"])
    with pytest.raises(Stopped) as error:
        run_async(try_critics([gullible], None, 500))
    said = str(error.value)
    assert said.startswith("critic: openai/judge accepts 28 of 32 forged rows")
    assert "order" not in said.partition("(")[2].partition(")")[0]
    assert "critic:fooled=1" in said
    assert "fooled is 0.05" in said


def test_a_single_slip_stops_nothing():
    def accepts(row):
        right = any(row == one for one in RIGHT)
        return right or (row["rationale"] == ":" and row["answer"] == "13")

    found = run_async(
        try_critics([judge(accepts), judge(bool, name="length")], None, 500)
    )
    assert list(found) == ["critic_faithful by openai/judge"]
    (kinds,) = found.values()
    assert (kinds["right"], kinds["colon"], kinds["empty"]) == (1.0, 0.25, 0.0)
