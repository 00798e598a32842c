"""The band is the formula on paper; spans compare products of neighbours; the worst place of a text is found."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from finetune.losses.dac_kl import DacKl
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize(
    ("upper", "lower"), [(0.0, 0.5), (0.2, 0.9), (0.0, 1.0)]
)
@given(cases())
def test_it_is_the_formula(upper, lower, case):
    def each(ls, ps, lt, pt, case):
        size = ls.shape[-1]
        order = lt.argsort(dim=-1, descending=True)
        ranks = torch.empty_like(order).scatter_(
            -1, order, torch.arange(size).expand_as(order)
        )
        band = (ranks >= round(upper * size)) & (
            ranks < max(1, round(lower * size))
        )
        band = band | torch.nn.functional.one_hot(case["labels"], size).bool()
        one, two = (
            x.masked_fill(~band, -1e9).log_softmax(-1) for x in (ls, lt)
        )
        return (two.exp() * (two - one)).sum(-1)

    agree(DacKl(upper=upper, lower=lower), each, case, labels=case["labels"])
