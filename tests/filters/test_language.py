"""Languages by real sentences; formulas and scraps are unknown."""

from __future__ import annotations

import pytest

from synth.core.errors import WrongUse
from synth.filters.language import Language

SENTENCES = {
    "en": "She bought three apples at the market and gave one of them to her brother", "de": "Sie kaufte drei Äpfel auf dem Markt und gab ihrem Bruder einen davon",
    "fr": "Elle a acheté trois pommes au marché et en a donné une à son frère", "es": "Compró tres manzanas en el mercado y le dio una a su hermano menor",
    "ru": "Она купила три яблока на рынке и отдала одно из них брату", "zh": "她在市场上买了三个苹果，并把其中一个给了她的弟弟", "ja": "彼女は市場でりんごを三つ買い、そのうちの一つを弟にあげました",
}  # fmt: skip


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_in_its_language(code):
    verdict = Language(languages=[code]).judge({"rationale": SENTENCES[code]})
    assert verdict.keep
    assert verdict.marks["language"] == code
    assert (
        Language(languages=["sw"]).judge({"rationale": SENTENCES[code]}).reason
        == "other_language"
    )


@pytest.mark.parametrize("text", ["", "2 + 2 = 4", "Yes.", "x = y"])
def test_scraps_are_unknown_and_stay(text):
    verdict = Language().judge({"rationale": text})
    assert verdict.keep is None
    assert Language().keeps(verdict)


def test_an_unknown_code_is_named():
    with pytest.raises(WrongUse, match="'english'"):
        Language(languages="english").judge({"rationale": SENTENCES["en"]})
