"""Pairs of draws: never of equals, no more than asked for, and the same rule whoever asks."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.equal import same_answer
from synth.runs.pairing import WRONG, by_score, make_pairs
from synth.text.words import jaccard

REASONS = st.sampled_from([*WRONG, "no_answer_marker", "cut_off"])
SEEDS = st.sampled_from("ab")
ANSWERS = st.sampled_from(["4", "4.0", "5", "$5", None])
TEXTS = st.sampled_from(["so 4", "it is 4", "no, 5", "", "well"])


def drawn(**more):
    fields = {"id": SEEDS, "completion": TEXTS, "answer": ANSWERS, **more}
    return st.lists(st.fixed_dictionaries(fields), max_size=8)


KEPT = drawn(prompt=st.just("2 + 2?"))
DROPPED = drawn(reason=REASONS)


@given(
    KEPT, DROPPED, st.integers(1, 5), st.sampled_from(["diagonal", "unlike"])
)
def test_a_pair_is_of_one_seed_and_of_two_texts(kept, dropped, most, order):
    pairs = list(make_pairs(kept, dropped, per_seed=most, order=order))
    chosen = {(row["id"], row["completion"]) for row in kept}
    rejected = {
        (row["id"], row["completion"], row["reason"])
        for row in dropped
        if row["reason"] in WRONG
    }
    for pair in pairs:
        assert pair["chosen"]
        assert pair["chosen"] != pair["rejected"]
        assert (pair["id"], pair["chosen"]) in chosen
        assert (pair["id"], pair["rejected"], pair["reason"]) in rejected
    assert all(n <= most for n in Counter(p["id"] for p in pairs).values())


@given(KEPT, DROPPED)
def test_all_pairs_are_those_of_brute_force(kept, dropped):
    def fits(good, bad):
        answers = (good["answer"], bad["answer"])
        agree = None not in answers and same_answer(*answers)
        for_answer = bad["reason"] in {"wrong_answer", "minority_answer"}
        return (
            good["id"] == bad["id"]
            and bad["reason"] in WRONG
            and good["completion"]
            and bad["completion"]
            and good["completion"] != bad["completion"]
            and not (agree and for_answer)
        )

    wanted = Counter(
        (good["id"], good["completion"], bad["completion"])
        for good in kept
        for bad in dropped
        if fits(good, bad)
    )
    for order in ("diagonal", "unlike"):
        pairs = make_pairs(kept, dropped, per_seed=99, order=order)
        found = Counter((p["id"], p["chosen"], p["rejected"]) for p in pairs)
        assert found == wanted


@given(KEPT, DROPPED)
def test_the_most_unlike_come_first(kept, dropped):
    pairs = list(make_pairs(kept, dropped, per_seed=99, order="unlike"))
    for seed in "ab":
        alike = [
            jaccard(pair["chosen"], pair["rejected"])
            for pair in pairs
            if pair["id"] == seed
        ]
        assert alike == sorted(alike)


SCORED = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {"id": SEEDS, "prompt": st.just("p"), "completion": TEXTS}
        ),
        st.integers(0, 20).map(lambda n: n / 20),
    ),
    max_size=8,
)


@given(SCORED, st.sampled_from([0.05, 0.1, 0.5]))
def test_margins_are_those_of_brute_force_widest_first(scored, least):
    wanted = Counter()
    for good, one in scored:
        for bad, two in scored:
            texts = (good["completion"], bad["completion"])
            margin = round(one - two, 6)
            if good["id"] == bad["id"] and all(texts) and margin >= least:
                wanted[good["id"], *texts, margin] += texts[0] != texts[1]
    pairs = list(by_score(scored, least=least, per_seed=99))
    found = Counter(
        (p["id"], p["chosen"], p["rejected"], p["margin"]) for p in pairs
    )
    assert found == +wanted
    for seed in "ab":
        margins = [pair["margin"] for pair in pairs if pair["id"] == seed]
        assert margins == sorted(margins, reverse=True)


@pytest.mark.parametrize("least", [0, -0.1, float("nan")])
def test_a_margin_of_nothing_is_no_preference(least):
    with pytest.raises(ValueError, match="use a margin above 0"):
        list(by_score([], least=least))


def test_texts_of_two_prompts_make_no_pair():
    kept = [{"id": "a", "prompt": p, "completion": f"good {p}"} for p in "xy"]
    dropped = [{"id": "a", "prompt": "y", "completion": "bad", "reason": "r"}]
    pairs = make_pairs(kept, dropped, reasons=("r",), per_seed=9)
    assert [(p["prompt"], p["chosen"]) for p in pairs] == [("y", "good y")]
    scored = [(row, 0.9) for row in kept] + [(row, 0.1) for row in dropped]
    assert [p["prompt"] for p in by_score(scored, per_seed=9)] == ["y"]
