"""Total variation is the formula on paper."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.total_variation import TotalVariation
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@given(cases())
def test_it_is_the_formula(temperature, case):
    agree(
        TotalVariation(temperature=temperature),
        lambda ls, ps, lt, pt, _: 0.5 * (ps - pt).abs().sum(-1),
        case,
    )
