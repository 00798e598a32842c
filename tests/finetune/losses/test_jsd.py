"""The generalised divergence is the formula on paper, its ends are the two KLs."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.jsd import Jsd
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
@given(cases())
def test_it_is_the_formula(beta, case):
    def each(ls, ps, lt, pt, _):
        middle = (beta * pt + (1 - beta) * ps).log()
        return (
            beta * pt * (lt - middle) + (1 - beta) * ps * (ls - middle)
        ).sum(-1)

    agree(Jsd(beta=beta, temperature=0.7), each, case)


@given(cases())
def test_its_ends_are_the_two_kls(case):
    agree(Jsd(beta=0), lambda ls, ps, lt, pt, _: (pt * (lt - ls)).sum(-1), case)
    agree(Jsd(beta=1), lambda ls, ps, lt, pt, _: (ps * (ls - lt)).sum(-1), case)


def test_a_beta_beyond_the_ends_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        Jsd(beta=1.5)
