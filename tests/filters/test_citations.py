"""Quotations and citations against their sources."""

from __future__ import annotations

import time

import pytest

from synth.filters.citations import Citations

SOURCES = ["Rain fell on the old town, said Ann.", "It was the twelfth of May."]
GOOD = [
    "It says “rain fell on the old town” [1].", 'As [1, 2] say, "Rain  fell ... said Ann".', "So [1-2].", 'She said "no".', "None of it.", "“It was the twelfth of May.” [2]",
]  # fmt: skip
BAD = [
    ('"rain fell on the new town"', "not_in_source"), ("So [3].", "no_such_source"), ("See [0].", "no_such_source"), ("See [1-9].", "no_such_source"),
    ('"said Ann ... rain fell"', "not_in_source"),
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_is_there_stays(text):
    assert Citations().judge({"sources": SOURCES, "text": text}).keep


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_not_there_goes(text, reason):
    assert (
        Citations().judge({"sources": SOURCES, "text": text}).reason == reason
    )


def test_a_list_of_quotations_is_looked_for_whole():
    row = {
        "sources": SOURCES[0],
        "quotes": ["rain fell", "said ann"],
        "text": "",
    }
    assert Citations(quotes="quotes", least=2).judge(row).keep
    assert Citations(quotes="quotes", least=3).judge(row).reason == "too_few"


def test_hostile_texts_cost_little():
    started = time.process_time()
    for text in (
        '"' * 100_000,
        "[1-999]" * 20_000,
        '"' + "a " * 900 + '"' + '"a b c"' * 500,
        "[" * 100_000,
        '"a ... ' + "b ... " * 300 + '"',
    ):
        Citations().judge({"sources": SOURCES * 5, "text": text})
    assert time.process_time() - started < 5
