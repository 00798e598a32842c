"""See test_exports_of_systems.py; here: the parameters of mined_pairs."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports import mined_pairs
from synth.exports.mined_pairs import MinedPairs


def test_unknown_parameters_are_refused():
    with pytest.raises(WrongUse, match="parameter 'odd'"):
        registry.build("synth.exports", "mined_pairs:odd=1")


def test_of_sources_that_entail_each_other_one_pair_is_kept(monkeypatch):
    same = {
        frozenset(("a1", "a2")),
        frozenset(("a2", "a3")),
    }  # a chain: a1 and a3 meet through a2
    sure = {("a2", "t2"): 0.99}

    def entailment(pairs, model):
        return [
            (sure.get(pair, 0.9 if frozenset(pair) in same else 0.1), 0.0)
            for pair in pairs
        ]

    monkeypatch.setattr(mined_pairs, "entailment", entailment)
    pairs = [
        (0.5, "a1", "t1"),
        (0.4, "a2", "t2"),
        (0.3, "a3", "t3"),
        (0.2, "b", "t4"),
    ]
    assert MinedPairs(nli="m").distinct(pairs) == [
        (0.4, "a2", "t2"),
        (0.2, "b", "t4"),
    ]
    assert MinedPairs(nli="m", dedup=False).distinct(pairs) == pairs
    assert MinedPairs().distinct(pairs) == pairs
