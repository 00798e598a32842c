"""Self-evolution is the formula on paper: plain on easy tokens, helped on hard ones, no gradient through the help."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from finetune.losses.self_evolution import SelfEvolution
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("hard", [0.0, 0.8, 99.0])
@given(cases())
def test_it_is_the_formula(hard, case):
    def each(ls, ps, lt, pt, case):
        label = torch.nn.functional.one_hot(
            case["labels"], ls.shape[-1]
        ).double()
        prior = 0.3 * label + 0.7 * pt
        difficulty = (prior * (prior.log() - ls)).sum(-1).detach()
        share = torch.where(
            difficulty > hard, (1 - (-difficulty).exp()).clamp(max=0.5), 0.0
        )[..., None]
        return (pt * (lt - (share * prior + (1 - share) * ps).log())).sum(-1)

    agree(
        SelfEvolution(blend=0.3, hard=hard), each, case, labels=case["labels"]
    )


def test_a_most_of_1_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        SelfEvolution(most=1.0)
