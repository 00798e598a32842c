from __future__ import annotations

import random

from synth.statistics.intervals import wilson


def test_known_values_and_edges():
    assert [round(x, 4) for x in wilson(300, 300)] == [0.9874, 1.0]
    assert [round(x, 4) for x in wilson(0, 10)] == [0.0, 0.2775]
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = random.Random(0), 0
    for _ in range(2000):
        low, high = wilson(sum(rng.random() < 0.9 for _ in range(100)), 100)
        hits += low <= 0.9 <= high
    assert 0.93 <= hits / 2000 <= 0.98
