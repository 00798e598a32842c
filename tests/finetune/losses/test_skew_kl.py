"""Skewed forward KL is the formula on paper, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.skew_kl import SkewKl
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.6])
@given(cases())
def test_it_is_the_formula(alpha, case):
    agree(
        SkewKl(alpha=alpha),
        lambda ls, ps, lt, pt, _: (
            pt * (lt - (alpha * pt + (1 - alpha) * ps).log())
        ).sum(-1),
        case,
    )


@given(cases())
def test_it_is_bounded(case):
    assert (
        float(
            SkewKl(alpha=0.1)(
                100 * case["student"], 100 * case["teacher"], case["mask"]
            ).detach()
        )
        <= 2.3026
    )


def test_an_alpha_of_1_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        SkewKl(alpha=1.0)
