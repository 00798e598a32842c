"""See tests/finetune/test_fade.py; here: a context that the rows do not have."""

from __future__ import annotations

import pytest

import synth
from synth import registry
from synth.datasets._folder import RunFolder
from synth.datasets.base import pack_of
from synth.errors import WrongUse
from synth.teachers._problems import make_problems


def test_a_missing_field_is_named(tmp_path):
    synth.run("cot", make_problems(2), teacher="simulated/perfect", output=tmp_path)
    folder = RunFolder(tmp_path)
    with pytest.raises(WrongUse, match="summary"):
        list(registry.build("synth.datasets", "faded").rows(folder, pack_of(folder)))
    rows = list(registry.build("synth.datasets", {"name": "faded", "context": "It is {{ answer }}."}).rows(folder, pack_of(folder)))
    assert rows[0]["context"].startswith("It is ")
