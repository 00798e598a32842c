"""A folder without a run is told with the runs that may have been meant."""

from __future__ import annotations

import pytest

import synth
from synth.core.errors import WrongUse
from synth.runs.publisher import RunFolder
from synth.view.rows import RunRows

OPENERS = [RunFolder, RunRows, synth.Run.load]


@pytest.mark.parametrize("opened", OPENERS)
def test_runs_below_a_folder_are_named(tmp_path, opened):
    for round_ in range(2):
        run = tmp_path / f"round{round_}" / "collect-1"
        run.mkdir(parents=True)
        (run / "run.json").write_text("{}")
    with pytest.raises(WrongUse, match=r"Runs below it: \S+round0/collect-1, "):
        opened(tmp_path)


@pytest.mark.parametrize("opened", OPENERS)
def test_a_misspelt_folder_is_told_what_stands_beside_it(tmp_path, opened):
    (tmp_path / "cot").mkdir()
    with pytest.raises(WrongUse, match=r"no such file.*Did you mean cot"):
        opened(tmp_path / "cto")
