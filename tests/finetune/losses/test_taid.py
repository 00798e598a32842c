"""The interpolated target is the formula on paper; t never falls, follows its line, and runs ahead where the loss falls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.taid import Taid, TaidSchedule
from tests.finetune.losses.brute import agree, cases


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
@given(cases())
def test_it_is_the_formula(t, case):
    def each(ls, ps, lt, pt, case):
        target = (
            (1 - t) * case["student"].detach() + t * case["teacher"]
        ).log_softmax(-1)
        return (target.exp() * (target - ls)).sum(-1)

    agree(Taid(t=t), each, case)


@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=30))
def test_t_goes_from_start_to_end_and_never_back(losses):
    schedule = TaidSchedule(steps=len(losses) - 1)
    seen = [schedule.update(loss) for loss in losses]
    assert seen[0] == 0.4
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_it_is_the_algorithm_of_the_paper():
    schedule = TaidSchedule(steps=10**6, alpha=0.1, beta=0.5)
    assert [round(schedule.update(loss), 4) for loss in (2.0, 1.0, 1.0)] == [
        0.4,
        0.4337,
        0.4638,
    ]
