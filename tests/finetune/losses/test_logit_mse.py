"""The mean squared difference of logits, centred or not."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.logit_mse import LogitMse
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("centre", [False, True])
@given(cases())
def test_it_is_the_formula(centre, case):
    def each(ls, ps, lt, pt, case):
        student, teacher = (
            case[name] / 2.0
            - centre * (case[name] / 2.0).mean(-1, keepdim=True)
            for name in ("student", "teacher")
        )
        return ((student - teacher) ** 2).mean(-1)

    agree(LogitMse(centre=centre, temperature=2.0), each, case)


@given(cases())
def test_a_constant_counts_unless_the_logits_are_centred(case):
    student, mask = case["student"].detach(), case["mask"]
    assert float(LogitMse()(student + 3, student, mask)) == pytest.approx(9.0)
    assert float(
        LogitMse(centre=True)(student + 3, student, mask)
    ) == pytest.approx(0.0, abs=1e-12)
