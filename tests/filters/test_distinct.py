"""What distinct does beyond its laws."""

from __future__ import annotations

from synth.filters.distinct import Distinct


def test_equations_and_words_tell_ways_apart():
    rows = [
        {"question": "q", "rationale": r}
        for r in (
            "First 2 + 3 = 5, then 5 * 2 = 10",
            "2 + 3 = 5; 5 * 2 = 10",
            "2 * 2 = 4, 3 * 2 = 6, 4 + 6 = 10",
            "no equation",
            "no  equation",
        )
    ]
    assert len(Distinct(by="equations").split(rows)[0]) == 3
    assert len(Distinct(similarity=0.0).split(rows)[0]) == 2
    assert [
        row["rationale"] for row in Distinct(by="equations").split(rows)[1]
    ] == ["2 + 3 = 5; 5 * 2 = 10", "no equation"]
