from __future__ import annotations

from pathlib import Path

import pytest

import synth
from synth.teachers.simulation.word_problems import make_problems


@pytest.fixture(scope="package")
def run(tmp_path_factory) -> Path:
    """A run of the simulated teacher, two draws a seed."""
    folder = tmp_path_factory.mktemp("view") / "run"
    synth.run(
        "cot",
        make_problems(60, seed=3),
        teacher="simulated/mixed",
        output=folder,
        draws=2,
    )
    return folder
