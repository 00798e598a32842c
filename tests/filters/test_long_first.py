"""What long_first does beyond its laws."""

from __future__ import annotations

from synth.filters.long_first import LongFirst


def test_domains_are_alike_and_long_chains_come_first():
    rows = [
        {"domain": "big", "rationale": "so " * n} for n in range(1, 200)
    ] + [{"domain": "small", "rationale": "so " * n} for n in range(1, 30)]
    kept, _ = LongFirst(most=40).split(rows)
    assert len(kept) == 40
    assert 10 <= sum(row["domain"] == "small" for row in kept) <= 29
    lengths = [
        len(row["rationale"]) // 3 for row in kept if row["domain"] == "big"
    ]
    assert min(lengths) > 150
    assert LongFirst(most=40, seed=1).split(rows)[0] != kept
