from __future__ import annotations

from math import log2

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from synth.tools.statement_metrics import (
    coverage,
    diversity,
    nli_precision_recall,
    novelty,
)
from tests import tiny


def test_case_and_points_make_nothing_new():
    assert novelty(["To eat.", "to eat", "to run"], ["to EAT"]) == 0.5
    assert novelty([], ["a"]) == 0.0


def test_repetition_lowers_every_figure_of_diversity():
    varied, flat = diversity(["a b c", "d e f"]), diversity(["a b c", "a b c"])
    assert all(varied[name] > flat[name] for name in varied)
    assert diversity([])["word_entropy"] == 0


def test_coverage_counts_wanted_statements_with_a_near_one():
    pairs = [
        (["to buy bread"], ["to buy bread", "to fly a kite"]),
        ([], ["to sleep"]),
    ]
    assert coverage(pairs, "hashing") == pytest.approx(1 / 3)


def test_propositions_are_precise_where_the_sentence_says_them_and_complete_where_they_say_the_sentence():
    fact = tiny.FACTS[0]
    precise, complete = nli_precision_recall(
        [(fact, [f"a {fact}", f"not {fact}"])], tiny.nli()
    )
    assert precise == pytest.approx(0.5, abs=0.1)
    assert complete < 0.5
    assert nli_precision_recall([(f"a {fact}", [fact])], tiny.nli())[1] > 0.8


STATEMENTS = st.lists(
    st.lists(st.sampled_from(["to", "eat", "bread"]), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


@given(STATEMENTS)
def test_the_entropy_of_words_is_that_of_scipy(statements):
    found = diversity([" ".join(words) for words in statements])
    every = [word for words in statements for word in words]
    counts = [every.count(word) for word in set(every)]
    wanted = scipy.stats.entropy(counts, base=2)
    assert found["word_entropy"] == pytest.approx(wanted, abs=1e-4)
    assert found["word_entropy"] <= log2(3) + 1e-4
    assert found["distinct_1"] == round(len(counts) / len(every), 4)
