from __future__ import annotations

import pytest

from synth.errors import Unreadable
from synth.parsers.delimited import Delimited


def test_other_marks_and_empty_spans():
    assert Delimited(begin="[[", end="]]").parse("[[a]]\n[[b]]", {}) == {"spans": ["a", "b"]}
    with pytest.raises(Unreadable, match="no_span"):
        Delimited(begin="[[", end="]]").parse("[[ ]]", {})
