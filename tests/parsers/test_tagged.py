from __future__ import annotations

from synth.parsers.tagged import Tagged


def test_the_last_pair_counts():
    assert Tagged(tags=("v",)).parse("<v>one</v> no, <V> two </V>", {}) == {"v": "two"}


def test_allowed_words_are_folded():
    assert Tagged(tags=("v",), allow={"v": ["yes", "no"]}).parse('<v>"Yes."</v>', {}) == {"v": "yes"}
