from __future__ import annotations

import pytest

from synth.parsers.groups import Groups


def test_lines_of_a_block_stand_together():
    assert Groups().parse("<s>\n* a\n\n- b\n</s>", {"sentences": ["x"]}) == {
        "groups": ["a\nb"]
    }


@pytest.mark.parametrize(
    "text",
    [
        "<s>\n- a.\n- b.\n</s>\n<s>\n- c.\n</s>", "<s> Both. </s>\n- a.\n- b.\n\n<s> One. </s>\n- c.", "<S>\n1. a.\n2. b.\n</S>\n<S>\n1. c.\n</S>",
        "<s>\n- a.\n- b.\n<s>\n- c.", "Here:\n<s id='1'>\n\u2022 **a.**\n\u2022 b.\n</s>\n<s id='2'>\n\u2022 c.\n</s>",
    ],
)  # fmt: skip
def test_spellings_of_groups(text):
    assert Groups().parse(text, {"sentences": ["x", "y"]}) == {
        "groups": ["a.\nb.", "c."]
    }
