"""What code_block reads beyond its laws."""

from __future__ import annotations

import pytest

from synth import registry
from synth.errors import Unreadable


def read(text, **parameters):
    return registry.build("synth.parsers", {"name": "code_block", **parameters}).parse(text, {})


def test_several_blocks_are_one_program_and_a_bare_one_can_be_allowed():
    assert read("```python\na = 1\n```\nthen\n```\nb = 2\n```")["code"] == "a = 1\nb = 2"
    assert read("a = 1", fenced=False)["code"] == "a = 1"
    with pytest.raises(Unreadable, match="no_code"):
        read("```python\n```")
