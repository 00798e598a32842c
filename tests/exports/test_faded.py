"""See tests/finetune/recipes/test_fade.py; here: a context that the rows do not have."""

from __future__ import annotations

import pytest

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports.base import pack_of
from synth.runs.publisher import RunFolder
from synth.teachers.simulation.word_problems import make_problems


def test_a_missing_field_is_named(tmp_path):
    synth.run(
        "cot", make_problems(2), teacher="simulated/perfect", output=tmp_path
    )
    folder = RunFolder(tmp_path)
    with pytest.raises(WrongUse, match="summary"):
        list(
            registry.build("synth.exports", "faded").rows(
                folder, pack_of(folder)
            )
        )
    rows = list(
        registry.build(
            "synth.exports", {"name": "faded", "context": "It is {{ answer }}."}
        ).rows(folder, pack_of(folder))
    )
    assert rows[0]["context"].startswith("It is ")
