from __future__ import annotations

from synth.filters.arithmetic_steps import ArithmeticSteps


def test_it_reads_the_raw_reply_where_there_is_no_rationale():
    verdict = ArithmeticSteps().judge({"reply": "8 + 5 = 3 #### 3"})
    assert (verdict.keep, verdict.reason, verdict.marks["wrong"]) == (
        False,
        "wrong_step",
        "8 + 5 = 3",
    )
