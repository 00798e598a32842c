"""The shared parts of losses over lists: orders whose probabilities add up to one, divergences
as scipy has them, masks.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.list_losses.base import (
    ABSENT,
    by_target,
    example,
    in_batch,
    kl,
    mean_over,
    plackett_luce,
    tails,
)
from tests.finetune.list_losses.brute import cases

SCORES = st.lists(st.floats(-4, 4), min_size=1, max_size=4)


def row(values: list[float]) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@given(SCORES, st.lists(st.floats(-4, 4), max_size=3))
def test_the_probabilities_of_all_orders_add_up_to_one(scores, rest):
    count = len(scores)
    behind = row(rest) if rest else None
    total = 0.0
    for order in permutations(range(count)):
        loss = plackett_luce(
            row(scores),
            torch.tensor([order]),
            torch.ones(1, count, dtype=torch.bool),
            behind,
        )
        total += float((-loss * count).exp())
    if rest:
        # Some orders have one of the rest before the last of these.
        assert 0 < total < 1
    else:
        assert total == pytest.approx(1.0)


@given(SCORES, st.floats(-50, 50), st.integers(1, 3))
def test_an_order_is_as_likely_after_a_shift_and_with_absent_texts(
    scores, shift, absent
):
    count = len(scores)
    order = list(range(count))
    there = torch.ones(1, count, dtype=torch.bool)
    loss = plackett_luce(row(scores), torch.tensor([order]), there)
    moved = plackett_luce(
        row([score + shift for score in scores]), torch.tensor([order]), there
    )
    assert float(moved) == pytest.approx(float(loss), abs=1e-9)
    padded = plackett_luce(
        row([*scores, *[3.0] * absent]),
        torch.tensor([[*order, *range(count, count + absent)]]),
        torch.cat([there, torch.zeros(1, absent, dtype=torch.bool)], dim=1),
    )
    assert float(padded) == pytest.approx(float(loss), abs=1e-9)


@given(SCORES)
def test_the_likeliest_order_is_that_of_the_scores(scores):
    count = len(scores)
    there = torch.ones(1, count, dtype=torch.bool)
    values = {
        order: float(plackett_luce(row(scores), torch.tensor([order]), there))
        for order in permutations(range(count))
    }
    best = by_target(row(scores), there)[0].tolist()
    assert values[tuple(best)] == pytest.approx(min(values.values()))


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=6))
def test_tails_are_the_logs_of_sums_from_each_place_on(scores):
    special = pytest.importorskip("scipy.special")
    found = tails(row(scores))[0].tolist()
    wanted = [special.logsumexp(scores[n:]) for n in range(len(scores))]
    assert found == pytest.approx(wanted, abs=1e-9)
    with_rest = tails(row(scores), row([1.0, -2.0]))[0].tolist()
    more = [
        special.logsumexp([*scores[n:], 1.0, -2.0]) for n in range(len(scores))
    ]
    assert with_rest == pytest.approx(more, abs=1e-9)


PAIRS = st.lists(
    st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.booleans()),
    min_size=2,
    max_size=6,
).filter(lambda texts: any(there for _, _, there in texts))


@given(PAIRS, st.sampled_from([0.5, 1.0, 3.0]))
def test_the_divergence_of_two_lists_is_that_of_scipy(texts, temperature):
    special = pytest.importorskip("scipy.special")
    stats = pytest.importorskip("scipy.stats")
    targets, scores, there = zip(*texts, strict=True)
    found = kl(
        row(list(targets)),
        row(list(scores)),
        torch.tensor([there]),
        temperature,
    )
    kept = [n for n, on in enumerate(there) if on]
    one = special.softmax([targets[n] / temperature for n in kept])
    two = special.softmax([scores[n] / temperature for n in kept])
    assert float(found) == pytest.approx(stats.entropy(one, two), abs=1e-9)
    itself = kl(
        row(list(scores)), row(list(scores)), torch.tensor([there]), temperature
    )
    assert float(itself) == pytest.approx(0.0, abs=1e-12)


@given(
    st.lists(st.integers(-2, 2), min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_texts_stand_by_falling_target_equal_ones_as_they_stood(targets, masks):
    there = masks[: len(targets)]
    order = by_target(row(list(map(float, targets))), torch.tensor([there]))
    present = [n for n in range(len(targets)) if there[n]]
    wanted = sorted(present, key=lambda n: -targets[n])
    assert order[0, : len(present)].tolist() == wanted
    assert sorted(order[0].tolist()) == list(range(len(targets)))


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 3)), min_size=1))
def test_a_mean_is_over_those_that_count_and_0_where_none_does(pairs):
    values = torch.tensor(
        [value for value, _ in pairs], dtype=torch.float64, requires_grad=True
    )
    counts = torch.tensor([count for _, count in pairs])
    found = mean_over(values, counts)
    some = [value / count for value, count in pairs if count]
    wanted = sum(some) / len(some) if some else 0.0
    assert float(found.detach()) == pytest.approx(wanted, abs=1e-9)
    found.backward()
    assert torch.isfinite(values.grad).all()
    assert (values.grad[counts == 0] == 0).all()


@given(cases())
def test_contrast_over_a_batch_is_the_cross_entropy_of_its_first_texts(case):
    batch, width = case.mask.shape
    plain = replace(case, targets=None, keys=None)
    found = in_batch(plain)
    flat = case.documents.reshape(batch * width, -1)
    scores = case.scale * case.queries @ flat.T
    scores[:, ~case.mask.reshape(-1)] = -torch.inf
    wanted = torch.nn.functional.cross_entropy(
        scores, torch.arange(batch) * width, reduction="none"
    )
    assert torch.allclose(found, wanted, atol=1e-9)


@given(cases(), st.sampled_from([0.5, 1.0, 4.0]))
def test_shares_of_a_teacher_add_up_over_the_texts_that_are_there(
    case, temperature
):
    shares = case.shares(temperature)
    assert torch.allclose(shares.sum(dim=1), torch.ones(len(shares)).double())
    assert (shares[~case.mask] == 0).all()
    for b in range(len(shares)):
        for n in range(shares.shape[1]):
            for m in range(shares.shape[1]):
                if case.mask[b, n] and case.mask[b, m]:
                    higher = case.targets[b, n] > case.targets[b, m]
                    assert bool(shares[b, n] > shares[b, m]) == bool(higher)


def test_a_text_that_answers_another_query_is_none_of_its_negatives():
    keys = torch.tensor([[7, 8], [9, 7]])
    lists = example(targets=None, keys=keys)
    twins = lists.twins()
    # The text 7 answers the first query and stands second in the list of the other.
    wanted = torch.zeros(2, 2, 2, dtype=torch.bool)
    wanted[0, 1, 1] = True
    assert torch.equal(twins, wanted)
    assert float(lists.all()[0, 1, 1]) == ABSENT
    assert float(lists.all()[1, 1, 1]) != ABSENT
    assert not example(targets=None).twins().any()


def test_texts_that_answer_are_the_first_or_those_of_high_targets():
    lists = example(targets=torch.tensor([[0.4, 0.5], [0.5, 0.49]]))
    assert lists.positives().tolist() == [[False, True], [True, False]]
    hidden = replace(lists, mask=torch.tensor([[True, False], [True, True]]))
    assert hidden.positives().tolist() == [[False, False], [True, False]]
    assert example(targets=None).positives().tolist() == [[True, False]] * 2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda lists: lists.wanted(), "no targets"),
        (lambda lists: lists.shares(1.0), "no targets"),
        (lambda lists: lists.taught(), "no teacher"),
    ],
)
def test_what_a_batch_does_not_bring_is_said(call, says):
    with pytest.raises(ValueError, match=says):
        call(example(targets=None))
