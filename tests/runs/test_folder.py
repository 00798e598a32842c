"""Rows load, also where a run dropped nothing or kept nothing."""

from __future__ import annotations

import pytest

import synth
from finetune.data import rows
from synth.core.errors import WrongUse
from synth.runs.folder import load_parquet
from synth.teachers.simulation.word_problems import make_problems


def test_a_run_that_dropped_nothing_has_no_dropped_rows(tmp_path):
    run = synth.run(
        "cot",
        make_problems(30, seed=1),
        teacher="simulated/perfect",
        output=tmp_path,
    )
    assert (len(run.kept), len(run.dropped)) == (30, 0)
    assert "reason" in run.dropped.column_names
    with pytest.raises(WrongUse, match="no seed with a kept and a wrong draw"):
        rows.preference_rows(tmp_path)


def test_a_run_that_kept_nothing_is_no_training_data(tmp_path):
    wrong = [{"question": "What is 1 + 1 ?", "target": "3"}]
    run = synth.run("cot", wrong, teacher="rehearsed/cot", output=tmp_path)
    if run.counts["kept"] == 0:
        assert len(load_parquet(tmp_path / "data")) == 0
        with pytest.raises(WrongUse, match="no rows"):
            rows.load(tmp_path)
