"""Laws of mixing: so many rows as were asked for, shares to the nearest row, each item once,
losses that shift shares.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.recipes.mix import by_domain, domain_shares, mixed
from synth.core.errors import WrongUse

SHARES = st.lists(st.integers(0, 7), min_size=1, max_size=5).filter(any)


def apart(counts: list[int]) -> list[list[dict[str, str]]]:
    """Sources of so many rows, no item of which another has."""
    return [rows_of(n, count) for n, count in enumerate(counts)]


def rows_of(source: int, count: int) -> list[dict[str, str]]:
    return [
        {"prompt": f"{source}-{row}", "text": str(row)} for row in range(count)
    ]


@given(SHARES, st.data())
def test_as_many_rows_come_as_were_asked_for_and_shares_hold_to_a_row(
    shares, data
):
    sources = apart([30] * len(shares))
    total = sum(shares)
    most = min(Fraction(30 * total, share) for share in shares if share)
    count = data.draw(st.integers(0, int(most)))
    found = mixed(sources, shares, count=count)
    assert len(found) == count
    counts = Counter(row["source"] for row in found)
    for number, share in enumerate(shares):
        quota = Fraction(count * share, total)
        assert abs(counts[number] - quota) < 1
        if quota.denominator == 1:
            assert counts[number] == quota
    prompts = [row["prompt"] for row in found]
    assert len(set(prompts)) == count


@given(SHARES, st.integers(1, 9))
def test_only_how_shares_stand_to_each_other_counts(shares, factor):
    sources = apart([12] * len(shares))
    one = mixed(sources, shares)
    assert mixed(sources, [factor * share for share in shares]) == one
    assert mixed(sources, [share / 16 for share in shares]) == one


@given(st.lists(st.integers(1, 15), min_size=2, max_size=4))
def test_without_a_number_the_scarcest_source_is_used_up(counts):
    found = mixed(apart(counts), [1.0] * len(counts))
    used = Counter(row["source"] for row in found)
    assert set(used.values()) == {min(counts)}
    assert len(found) == len(counts) * min(counts)


@given(
    st.lists(
        st.lists(st.integers(0, 9), min_size=1, max_size=12),
        min_size=2,
        max_size=3,
    ),
    st.randoms(use_true_random=False),
)
def test_an_item_comes_from_one_source_and_the_order_of_rows_of_others_is_kept(
    items, draw
):
    sources = []
    for source in items:
        numbered = enumerate(source)
        sources.append(
            [{"prompt": f"q{item}", "n": str(n)} for n, item in numbered]
        )
    found = mixed(sources, [1.0] * len(sources))
    homes: dict[str, set[int]] = {}
    for row in found:
        homes.setdefault(row["prompt"], set()).add(row["source"])
    assert all(len(home) == 1 for home in homes.values())
    for row in found:
        plain = {name: row[name] for name in ("prompt", "n")}
        assert plain in sources[row["source"]]
    # Rows of one item keep their order; where items stand plays no part.
    moved = []
    for source in sources:
        names = sorted({row["prompt"] for row in source})
        draw.shuffle(names)
        moved.append(
            [row for name in names for row in source if row["prompt"] == name]
        )
    assert mixed(moved, [1.0] * len(sources)) == found


@given(st.integers(2, 40), st.integers(1, 3), st.integers(1, 3))
def test_items_that_all_have_go_to_the_source_that_is_behind(count, one, two):
    same = [[{"prompt": str(n)} for n in range(count)]] * 2
    found = mixed(same, [one, two])
    # All but what is left over where shares do not divide the items.
    assert len(found) > count - 2 * (one + two)
    used = Counter(row["source"] for row in found)
    assert abs(used[0] * two - used[1] * one) < one + two


def test_a_source_without_a_share_gives_nothing_and_takes_nothing():
    sources = [[{"prompt": "a"}, {"prompt": "b"}], [{"prompt": "a"}]]
    found = mixed(sources, [0, 1])
    assert found == [{"prompt": "a", "source": 1}]
    assert mixed(sources, [1, 0], count=1)[0]["source"] == 0


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ([], "a share from 0 on for each"),
        ([1.0], "a share from 0 on for each"),
        ([0, 0], "not all 0"),
        ([1, -1], "a share from 0 on for each"),
        ([1, float("nan")], "a share from 0 on for each"),
        ([1, float("inf")], "a share from 0 on for each"),
    ],
)
def test_shares_that_are_none_are_shown(shares, says):
    with pytest.raises(WrongUse, match="mix") as caught:
        mixed(apart([2, 2]), shares)
    assert says in str(caught.value)
    assert str(list(shares)) in str(caught.value)


def test_more_rows_than_there_are_is_refused_with_how_many_there_are():
    with pytest.raises(WrongUse, match="at most 8 at these shares"):
        mixed(apart([2, 100]), [1, 3], count=9)
    assert len(mixed(apart([2, 100]), [1, 3], count=8)) == 8


LOSSES = st.dictionaries(
    st.sampled_from("abcde"), st.floats(0, 5), min_size=1, max_size=5
)


@given(LOSSES, st.floats(0.1, 5), st.floats(0, 1))
def test_shares_of_domains_are_the_softmax_of_the_ratios_and_the_uniform_share(
    losses, teacher, smoothing
):
    teachers = dict.fromkeys(losses, teacher)
    found = domain_shares(losses, teachers, smoothing=smoothing)
    whole = sum(exp(loss / teacher) for loss in losses.values())
    for name, loss in losses.items():
        share = exp(loss / teacher) / whole
        wanted = smoothing * share + (1 - smoothing) / len(losses)
        assert found[name] == pytest.approx(wanted, rel=1e-9)
    assert sum(found.values()) == pytest.approx(1.0)


@given(LOSSES, st.floats(0.5, 1))
def test_a_domain_in_which_the_student_lags_farther_gets_no_smaller_share(
    losses, smoothing
):
    teachers = dict.fromkeys(losses, 1.0)
    found = domain_shares(losses, teachers, smoothing=smoothing)
    again = domain_shares(losses, teachers, found, smoothing=smoothing)
    for one in losses:
        for two in losses:
            if losses[one] > losses[two]:
                assert found[one] >= found[two]
                assert again[one] >= again[two]


def test_losses_so_large_that_their_exponentials_are_none_still_give_shares():
    found = domain_shares(
        {"a": 5000.0, "b": 4000.0}, {"a": 1.0, "b": 1.0}, smoothing=0.8
    )
    assert found == pytest.approx({"a": 0.9, "b": 0.1})


@pytest.mark.parametrize(
    ("students", "teachers"),
    [
        ({}, {}),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": 1.0}, {"a": 0.0}),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}),
    ],
)
def test_domains_of_one_side_alone_are_refused(students, teachers):
    with pytest.raises(WrongUse, match="the same domains"):
        domain_shares(students, teachers)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
    st.integers(1, 60),
    st.text("ab", max_size=2),
)
def test_each_domain_has_its_share_and_repeats_only_what_is_used_up(
    sizes, weights, count, key
):
    rows = [
        {"domain": f"d{n}", "id": place, "source": "mine"}
        for n, size in enumerate(sizes)
        for place in range(size)
    ]
    total = sum(weights[: len(sizes)])
    shares = {f"d{n}": weights[n] / total for n in range(len(sizes))}
    found = by_domain(rows, "domain", shares, count, key=key)
    assert len(found) == count
    assert found == by_domain(rows[::-1], "domain", shares, count, key=key)
    for n, size in enumerate(sizes):
        own = [row["id"] for row in found if row["domain"] == f"d{n}"]
        assert abs(len(own) - count * shares[f"d{n}"]) < 1
        times = [own.count(place) for place in range(size)]
        assert max(times) - min(times) <= 1
    assert all(row in rows for row in found)


def test_domains_that_do_not_fit_are_named():
    rows = [{"domain": "a"}]
    with pytest.raises(WrongUse, match="none of 'b'"):
        by_domain(rows, "domain", {"a": 0.5, "b": 0.5}, 4)
    with pytest.raises(WrongUse, match="'a'"):
        by_domain(rows, "domain", {"b": 1.0}, 4)
