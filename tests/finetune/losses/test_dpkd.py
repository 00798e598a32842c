"""Direct preference distillation is the formula on paper."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.dpkd import Dpkd
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("beta", [0.1, 2.0])
@given(cases())
def test_it_is_the_formula(beta, case):
    def each(ls, ps, lt, pt, _):
        a, b = lt.argmax(-1, keepdim=True), ls.argmax(-1, keepdim=True)
        gap = (ls.gather(-1, a) - ls.gather(-1, b)) - (
            lt.gather(-1, a) - lt.gather(-1, b)
        )
        return -(beta * gap).sigmoid().log()[..., 0]

    agree(Dpkd(beta=beta), each, case)
