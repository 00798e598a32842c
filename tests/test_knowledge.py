from __future__ import annotations

import pytest

from synth.knowledge import coverage, diversity, novelty


def test_case_and_points_make_nothing_new():
    assert novelty(["To eat.", "to eat", "to run"], ["to EAT"]) == 0.5
    assert novelty([], ["a"]) == 0.0


def test_repetition_lowers_every_figure_of_diversity():
    varied, flat = diversity(["a b c", "d e f"]), diversity(["a b c", "a b c"])
    assert all(varied[name] > flat[name] for name in varied)
    assert diversity([])["word_entropy"] == 0


def test_coverage_counts_wanted_statements_with_a_near_one():
    pairs = [(["to buy bread"], ["to buy bread", "to fly a kite"]), ([], ["to sleep"])]
    assert coverage(pairs, "hashing") == pytest.approx(1 / 3)
