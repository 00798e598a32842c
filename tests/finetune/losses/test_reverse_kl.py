"""Reverse KL is the formula on paper."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.reverse_kl import ReverseKl
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@given(cases())
def test_it_is_the_formula(temperature, case):
    agree(
        ReverseKl(temperature=temperature),
        lambda ls, ps, lt, pt, _: (ps * (ls - lt)).sum(-1),
        case,
    )
