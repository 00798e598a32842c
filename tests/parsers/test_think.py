"""What think reads beyond its laws."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import Unreadable


def read(text, **parameters):
    return registry.build(
        "synth.parsers", {"name": "think", **parameters}
    ).parse(text, {})


def test_boxes_and_markers_behind_the_thinking_alone_count():
    found = read("<think>maybe \\boxed{3}, no</think>So \\boxed{4}.")
    assert (found["answer"], found["thinking"]) == ("4", "maybe \\boxed{3}, no")
    assert read("<think>x</think>so\n#### 12")["answer"] == "12"
    with pytest.raises(Unreadable, match="no_answer"):
        read("<think>\\boxed{3}</think>done")
