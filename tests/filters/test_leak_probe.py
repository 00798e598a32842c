from __future__ import annotations

import random

from synth.filters.leak_probe import LeakProbe

WORDS = [
    "film",
    "story",
    "actor",
    "scene",
    "music",
    "plot",
    "camera",
    "light",
    "street",
    "night",
]


def rows(leak):
    rng = random.Random(3)
    made = []
    for n in range(120):
        label = ("good", "bad")[n % 2]
        told = f"{label}ly " if rng.random() < leak else ""
        made.append(
            {"text": told + " ".join(rng.choices(WORDS, k=8)), "label": label}
        )
    return made


def test_what_leaks_is_dropped_and_what_does_not_is_mostly_kept():
    part = LeakProbe(embedding="hashing", most=1.5, ridge=20)
    leaky, clean = part.split(rows(1.0)), part.split(rows(0.0))
    assert len(leaky[1]) > 90
    assert len(clean[1]) < len(leaky[1]) / 2
