from __future__ import annotations

import pytest

from synth.errors import Unreadable
from synth.parsers.permutation import Permutation

ROW = {"documents": list("abcd")}


def test_repairs_are_made_and_counted():
    assert Permutation().parse("[3] > [3] > [9] > [1] > [2]", ROW) == {"ranks": [2.0, 3.0, 1.0, 4.0], "repaired": 1.0}


def test_broken_lists_are_not_hidden():
    with pytest.raises(Unreadable, match="too_much_missing"):
        Permutation().parse("[3] > [1]", ROW)
    assert Permutation(most_repaired=1.0).parse("[4]", ROW)["repaired"] == 3.0
