from __future__ import annotations

from synth.filters.mentions import Mentions


def test_words_have_borders_and_lists_all_their_elements():
    row = {
        "text": "Annabel met Bern's mayor.",
        "who": "Anna",
        "names": [{"n": "Bern"}, {"n": "Basel"}],
    }
    assert Mentions(must=("who",)).judge(row).reason == "not_mentioned"
    assert Mentions(must=("names.n",)).judge(row).marks == {"what": "Basel"}
    assert Mentions(never=("names.n",)).judge(row).marks == {"what": "Bern"}
    assert Mentions(must=("absent",)).judge(row).keep is True
