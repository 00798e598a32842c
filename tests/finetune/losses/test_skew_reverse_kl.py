"""Skewed reverse KL is the formula on paper, with the mixture held fixed or not."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.skew_reverse_kl import SkewReverseKl
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("detach", [False, True])
@given(cases())
def test_it_is_the_formula(detach, alpha, case):
    def each(ls, ps, lt, pt, _):
        mixture = alpha * ps + (1 - alpha) * pt
        return (
            ps * (ls - (mixture.detach() if detach else mixture).log())
        ).sum(-1)

    agree(SkewReverseKl(alpha=alpha, detach=detach), each, case)
