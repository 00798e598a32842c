"""Texts that are worse than they were: some of their words are masked, or others stand there."""

from __future__ import annotations

import random
from collections.abc import Sequence

from synth.text.words import parted


def masked(
    text: str, share: float, mask: str, others: Sequence[str], key: str
) -> str:
    """A text of whose words a share is masked or replaced, half of them each on average.

    Args:
        text: any; what parts its words stays.
        share: of the words, 0 to 1; one word at least.
        mask: stands where a word is masked.
        others: words that replace; without any, every word is masked.
        key: the same one chooses the same words.

    >>> masked("2 + 3 = 5 .", 0.4, "_", ["8"], "a")
    '2 + 8 = _ .'
    """
    cut = parted(text)
    # Pieces stand at the odd places.
    places = range(1, len(cut), 2)
    if not places:
        return text
    draw = random.Random(key)
    for place in draw.sample(places, max(1, round(share * len(places)))):
        replaces = bool(others) and draw.random() < 0.5
        other = draw.choice(others) if replaces else mask
        # The same word again would be no change.
        cut[place] = mask if other == cut[place] else other
    return "".join(cut)
