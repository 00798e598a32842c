"""A row that lacks an input is answered with the option that names its column."""

from __future__ import annotations

import pytest

from synth.core.errors import WrongUse
from synth.packs.pack import Pack


def test_a_column_of_another_language_is_asked_for_by_option():
    pack = Pack.load("cot")
    with pytest.raises(WrongUse, match="--column question=qestion"):
        pack.check_row({"qestion": ""}, "row 1")
    with pytest.raises(WrongUse, match="--column question=COLUMN"):
        pack.check_row({"Frage": "Was ist 8 + 5 ?"}, "row 1")
