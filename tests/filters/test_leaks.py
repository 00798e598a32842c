"""What leaks does beyond its laws."""

from __future__ import annotations

from synth.filters.leaks import Leaks


def test_a_hidden_list_is_looked_at_and_the_words_are_told():
    part = Leaks(field="answer", hidden="context", words=4, phrases=())
    row = {
        "context": ["never promise a delivery date", "x"],
        "answer": "I NEVER promise a, delivery!",
    }
    assert part.judge(row).marks["leak"] == "never promise a delivery"
    assert part.judge({**row, "answer": "I promise a date"}).keep
    assert part.judge({"answer": "no context at all"}).keep
