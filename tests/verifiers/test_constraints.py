"""Rules of a text that a program can check, each kept and each broken."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import RowFault
from synth.filters.verified import Verified
from synth.verifiers.constraints import COUNTS, HOLDS, Constraints

KEPT = {
    "words": ({"least": 3, "most": 3}, "One two three.", "One two."),
    "characters": ({"most": 5}, " abcde ", "abcdef"),
    "sentences": ({"least": 2, "most": 2}, "It rains. I stay!", "It rains at 3.5 degrees."),
    "paragraphs": ({"least": 2}, "One.\n\nTwo.", "One.\nTwo."),
    "lines": ({"most": 2}, "a\n\nb", "a\nb\nc"),
    "bullets": ({"least": 2, "most": 2}, "- a\n* b", "- a\n b"),
    "keyword": ({"text": "Red Fox", "least": 2}, "A red fox, red fox.", "A red fox. Red foxes."),
    "letter": ({"text": "e", "most": 1}, "One bird", "Eleven"),
    "placeholders": ({"least": 1}, "Dear [name],", "Dear Ann,"),
    "capital_words": ({"most": 0}, "A Red Fox", "A RED fox"),
    "commas": ({"most": 0}, "No such sign.", "One, two."),
    "capitals": ({}, "ALL OF IT: 3!", "All of it"),
    "small_letters": ({}, "none of it", "None"),
    "json": ({}, '```json\n{"a": 1}\n```', "{a: 1}"),
    "quoted": ({}, '"So it is."', 'So "it" is.'),
    "title": ({}, "<<Rain>>\nIt fell.", "Rain"),
    "postscript": ({}, "It fell.\nP.S. And snow.", "It fell, P.S."),
    "starts": ({"text": "Well,"}, "well, yes", "Yes, well,"),
    "ends": ({"text": "Is it?"}, "It is. Is it?", "Is it? It is."),
}  # fmt: skip


def test_every_kind_has_its_case():
    assert set(KEPT) == {*COUNTS, *HOLDS}


@pytest.mark.parametrize("kind", KEPT)
def test_a_rule_is_kept_or_broken(kind):
    more, good, bad = KEPT[kind]
    rule = {"kind": kind, "say": "as it is said", **more}
    assert Constraints().verify(good, rule)
    assert Constraints().verify(good, json.dumps([rule]))
    assert not Constraints().verify(bad, [rule])
    assert Constraints().broken(bad, [rule]) == [kind]


@pytest.mark.parametrize(
    "rules",
    [
        [], "no JSON", 5, [5], {"kind": "poem"}, {"kind": "words"}, {"kind": "words", "most": -1}, {"kind": "words", "least": True},
        {"kind": "keyword", "least": 1}, {"kind": "starts", "text": " "}, [{"kind": "json"}] * 99, "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_rule_is_a_fault_of_its_row(rules):
    with pytest.raises(RowFault, match="constraints"):
        Constraints().verify("text", rules)


@given(text=st.text(max_size=200))
def test_any_text_is_judged(text):
    for kind, (more, *_) in KEPT.items():
        assert Constraints().verify(text, {"kind": kind, **more}) in (True, False)  # fmt: skip


@pytest.mark.parametrize("text", ["[" * 300_000, "<<" * 150_000, "- " * 150_000, "\n \t" * 100_000, "P. " * 100_000, "a." * 150_000])  # fmt: skip
def test_hostile_texts_cost_little(text):
    started = time.process_time()
    for kind, (more, *_) in KEPT.items():
        Constraints().verify(text, {"kind": kind, **more})
    assert time.process_time() - started < 5


def test_a_filter_holds_rows_against_their_own_rules():
    rows = [
        {"answer": "Rain fell.", "rules": [{"kind": "words", "most": 2}]},
        {"answer": "Rain fell.", "rules": [{"kind": "words", "most": 1}]},
    ]
    kept, dropped = Verified(verifier=Constraints(), target="rules").split(rows)
    assert (len(kept), dropped[0]["reason"]) == (1, "refuted")
