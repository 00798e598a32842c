"""Words of texts, and how much two texts share: ROUGE over lower-case words (Lin 2004)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order.

    >>> words("A train, 270 miles!")
    ['a', 'train', '270', 'miles']
    """
    return _WORD.findall(text.casefold())


def plain(value: Any) -> str:
    """One form for texts that differ in case and white space only.

    >>> plain(" The  Light ")
    'the light'
    """
    return " ".join(str(value).casefold().split())


def rouge_1(one: str, two: str) -> float:
    """F measure of shared words, 0 to 1.

    >>> rouge_1("the cat sat", "the cat lay"), rouge_1("a b", "c d")
    (0.6666666666666666, 0.0)
    """
    left, right = Counter(one.casefold().split()), Counter(two.casefold().split())
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 0.0


def rouge_l(one: str, two: str) -> float:
    """F measure of the longest common subsequence, 0 to 1.

    >>> rouge_l("the cat sat down", "the cat lay down"), rouge_l("a b", "c d")
    (0.75, 0.0)
    """
    left, right = one.casefold().split(), two.casefold().split()
    if not left or not right:
        return 0.0
    return 2 * _common(left, right) / (len(left) + len(right))


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for word in left:
        above = 0
        for place, other in enumerate(right, 1):
            above, row[place] = row[place], above + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]
