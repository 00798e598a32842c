"""Adaptive KL weighs the two KLs by where the gaps lie."""

from __future__ import annotations

import pytest
from hypothesis import given

from finetune.losses.adaptive_kl import AdaptiveKl
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("head", [0.2, 0.5])
@given(cases())
def test_it_is_the_formula(head, case):
    def each(ls, ps, lt, pt, _):
        ordered, order = pt.sort(dim=-1)
        gaps = (ps - pt).abs().detach().gather(-1, order)
        tail = (ordered.cumsum(-1) <= 1 - head).double()
        high, low = (gaps * (1 - tail)).sum(-1), (gaps * tail).sum(-1)
        share = high / (high + low)
        return share * (pt * (lt - ls)).sum(-1) + (1 - share) * (
            ps * (ls - lt)
        ).sum(-1)

    agree(AdaptiveKl(head=head), each, case)


def test_a_head_beyond_the_whole_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        AdaptiveKl(head=1.1)
