from __future__ import annotations

from synth.filters.length import Length


def test_words_and_characters():
    assert Length(most=2).judge({"rationale": "a b c"}).marks == {"length": 3}
    assert (
        Length(most=5, unit="chars").judge({"rationale": "a b c"}).keep is True
    )
