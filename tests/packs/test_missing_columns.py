"""A row that lacks an input is answered with the option that names its column."""

from __future__ import annotations

import re

import pytest

from synth.core.errors import WrongUse
from synth.packs.pack import Pack
from synth.packs.shelf import require_texts


def test_a_column_of_another_language_is_asked_for_by_option():
    pack = Pack.load("cot")
    with pytest.raises(WrongUse, match="--column question=qestion"):
        pack.check_row({"qestion": ""}, "row 1")
    with pytest.raises(WrongUse, match="--column question=COLUMN"):
        pack.check_row({"Frage": "Was ist 8 + 5 ?"}, "row 1")


@pytest.mark.parametrize("value", [None, 3, True, ["a"]])
def test_a_row_to_look_up_whose_cell_is_no_text_is_named_by_its_value(value):
    rows = [{"text": "a"}, {"text": value}]
    says = re.escape(f"docs row 2: found text = {value!r}; wanted a text")
    with pytest.raises(WrongUse, match=says):
        require_texts(rows, ["text"], "docs")
    with pytest.raises(WrongUse, match="row 1: found columns txt; wanted text"):
        require_texts([{"txt": "a"}], ["text"], "docs")
