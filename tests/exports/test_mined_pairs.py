"""See test_exports_of_systems.py; here: the parameters of mined_pairs."""

from __future__ import annotations

import pytest

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports import mined_pairs
from synth.exports.base import pack_of
from synth.exports.mined_pairs import MinedPairs
from synth.runs.publisher import RunFolder


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


def test_a_field_that_rows_lack_is_named(tmp_path):
    run = synth.run(
        "cot",
        [{"question": "What is 8 + 5 ?", "target": "13"}],
        teacher="simulated/perfect",
        output=tmp_path / "run",
    )
    assert run.counts["kept"] == 1
    maker = registry.build("synth.exports", "mined_pairs:field=answr")
    opened = RunFolder(tmp_path / "run")
    with pytest.raises(WrongUse, match=r"field=answr, .*Did you mean answer"):
        list(maker.rows(opened, pack_of(opened)))
    meta = registry.build("synth.exports", "mined_pairs:field=meta")
    with pytest.raises(WrongUse, match="found a dict; wanted a field of text"):
        list(meta.rows(opened, pack_of(opened)))
