"""Lists held against lists, whatever their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.measures.base import Measure, reply_of
from synth.core.records import Row
from synth.text.words import words

_BETWEEN = re.compile(r"[,;\n]")
# What stands before an item of a list: a number, a letter or a bullet.
_MARK = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s*")


@dataclass(frozen=True, kw_only=True)
class SetF1(Measure):
    """Harmonic mean of precision and recall of the items of a list: hypernyms, entities, labels.

    An answer is a list, or a text with items between commas, semicolons or lines.

    Example:
        >>> SetF1().of_question([{"answer": "pen, hat", "target": ["hat", "tree"]}])
        0.5
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        return fmean(_f1(row) for row in draws)


def _f1(row: Row) -> float:
    answered = set(answer_items(row))
    right = set(listed(row.get("target")))
    if not answered or not right:
        return float(answered == right)
    shared = len(answered & right)
    total = len(answered) + len(right)
    return 2 * shared / total


def answer_items(row: Row) -> list[str]:
    """The items of what was read of a reply; of the reply, where nothing was."""
    answer = row.get("answer")
    if answer is None:
        answer = reply_of(row)
    return listed(answer)


def listed(value: object) -> list[str]:
    """The items of a list in their order, each as its words in small letters."""
    parts = value
    if not isinstance(parts, list):
        parts = _BETWEEN.split(str(value))
    found = []
    for part in parts:
        text = _MARK.sub("", str(part))
        item = " ".join(words(text.casefold()))
        if item:
            found.append(item)
    return found
