from __future__ import annotations

import pytest

from synth.core.errors import Unreadable
from synth.parsers.groups import Groups


def test_lines_of_a_block_stand_together():
    assert Groups().parse("<s>\n* a\n\n- b\n</s>", {"sentences": ["x"]}) == {
        "groups": ["a\nb"]
    }


@pytest.mark.parametrize(
    "text",
    [
        "<s>\n- a.\n- b.\n</s>\n<s>\n- c.\n</s>", "<s> Both. </s>\n- a.\n- b.\n\n<s> One. </s>\n- c.", "<S>\n1. a.\n2. b.\n</S>\n<S>\n1. c.\n</S>",
        "<s>\n- a.\n- b.\n<s>\n- c.", "1. Both.\n- a.\n- b.\n2. One.\n- c.", "1)\n- a.\n- b.\n\n2)\n- c.", "**Sentence 1:** Both.\n* a.\n* b.\n**Sentence 2:** One.\n* c.",
        "Here they are:\n### 1. Both.\n  - a.\n  - b.\n### 2. One.\n  - c.", "Here:\n<s id='1'>\n\u2022 **a.**\n\u2022 b.\n</s>\n<s id='2'>\n\u2022 c.\n</s>",
    ],
)  # fmt: skip
def test_spellings_of_groups(text):
    assert Groups().parse(text, {"sentences": ["x", "y"]}) == {
        "groups": ["a.\nb.", "c."]
    }


@pytest.mark.parametrize(
    "text",
    [
        "1. One.\n1. a.\n2. b.\n2. Two.\n1. c.",
        "1. a.\n2. b.\n3. c.",
        "1. One.\n- a.",
        "2. Two.\n- a.\n3. Three.\n- b.",
        "- a.\n- b.",
    ],
)
def test_numbers_that_may_be_those_of_lines_are_not_read_as_blocks(text):
    with pytest.raises(Unreadable, match="other_count"):
        Groups().parse(text, {"sentences": ["x", "y"]})


def test_a_year_at_the_head_of_a_line_is_no_number_of_a_text():
    text = "1. One.\n- a.\n- 1950 b.\n2. Two.\n- 3.5 c."
    assert Groups().parse(text, {"sentences": ["x", "y"]}) == {
        "groups": ["a.\n1950 b.", "3.5 c."]
    }
