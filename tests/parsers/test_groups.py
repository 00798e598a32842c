from __future__ import annotations

from synth.parsers.groups import Groups


def test_lines_of_a_block_stand_together():
    assert Groups().parse("<s>\n* a\n\n- b\n</s>", {"sentences": ["x"]}) == {"groups": ["a\nb"]}
