from __future__ import annotations

from synth.filters.per_seed import PerSeed


def test_the_first_ones_stay_in_every_group():
    rows = [{"question": q, "n": n} for n, q in enumerate("aabab")]
    kept, dropped = PerSeed(most=2).split(rows)
    assert [r["n"] for r in kept] == [0, 1, 2, 4]
    assert [r["n"] for r in dropped] == [3]
