"""An outline of numbered sentences: aspects with ranges, so that text is copied, not written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser

# A longer line names no aspect; a name is looked for from each of its signs.
_MOST_LINE = 1000
_NUMBERS = r"\d{1,5}(?:\s?(?:-|,|;|&|to|and|, and)\s?\d{1,5}){0,200}"
_ASPECT = lazy_pattern(
    r"^(?P<depth>\s*)(?:[-*+\u2022]|\d{1,2}[.)]) +(?P<name>.+?)(?:: *\(?|\s\()(?:(?:sentences?"
    r"|lines?|nos?\.?)\s)?"
    rf"(?P<range>{_NUMBERS})\)?\.? *$",
    re.IGNORECASE,
)
# A sentence's number and the aspect that it belongs to.
_SENTENCE = lazy_pattern(
    r"^\s*(?:[-*+\u2022] +)?(?P<number>\d{1,5})(?:[.):]|\s?-) +(?P<name>\S.*)$"
)
_SCOPE = lazy_pattern(
    r"^(?:[^\S\n]|#)*+scope: *+([^\n]+)$", re.MULTILINE | re.IGNORECASE
)
_DECORATION = lazy_pattern(r"\*\*|__|`")
_DASHES = lazy_pattern("[\u2010-\u2015\u2212]")


@dataclass(frozen=True, kw_only=True)
class Outline(Parser):
    r"""Reads `scope: ...` and lines `- aspect: 1-4`, each level indented deeper; every sentence
    must stand in exactly one leaf.

    | spelling | read |
    |---|---|
    | `scope: a`, `**Scope:** a`, `## scope: a` | a |
    | `- a: 1-2`, `* **a**: 1` U+2013 `2`, `1. a: 1 to 2` | a, 1 to 2 |
    | `- a: sentences 1, 2`, `- a (1-2)` | a, 1 to 2 |
    | `1. a`, `2. a`, `3. b`: every sentence with its aspect | a, 1 to 2; b, 3 |
    | `1. a / x`, `2. a / y` | a, 1 to 2, and in it x, 1 and y, 2 |
    | two or four blanks or a tab a level | one level |
    | `- a: 1, 3` | out_of_range: an aspect is a range |

    Args:
        of: the field with the list of sentences, numbered from 1.

    Reasons:
        no_outline: no scope, or no aspect.
        out_of_range: a range that the sentences do not have, or that its parent does not hold.
        not_covered: a sentence in no aspect of the lowest level, or in two.

    Example:
        >>> Outline().parse("scope: a ship\n- past: 1-2\n- now: 3", {"sentences": ["a", "b", "c"]})[
        ...     "aspects"
        ... ][1]
        {'level': 0.0, 'name': 'now', 'first': 3.0, 'last': 3.0}
    """

    of: str = "sentences"

    reasons: ClassVar[dict[str, str]] = {
        "no_outline": "no scope or no aspect",
        "out_of_range": "a range that is not there",
        "not_covered": "a sentence in none, or in two",
    }

    def produces(self) -> Fields:
        """Scope and aspects."""
        return {
            "scope": "text",
            "aspects": {
                "level": "number",
                "name": "text",
                "first": "number",
                "last": "number",
            },
        }

    def read(self, text: str, row: Row) -> Fields:
        text = _DASHES.sub("-", _DECORATION.sub("", text))
        scope = _SCOPE.search(text)
        matches = [
            match
            for line in text.splitlines()
            if len(line) <= _MOST_LINE and (match := _ASPECT.match(line))
        ]
        aspects = _ranges(matches) if matches else _of_each_sentence(text)
        if not scope or not aspects:
            raise Unreadable("no_outline", text[-80:])
        sentences = row.get(self.of) or []
        _check(aspects, len(sentences))
        return {"scope": scope[1].rstrip(), "aspects": aspects}


def _ranges(matches: list[re.Match[str]]) -> list[Fields]:
    """Aspects of lines that name their first and last sentence."""
    levels = _levels([len(match["depth"].expandtabs(4)) for match in matches])
    aspects = []
    for match, level in zip(matches, levels, strict=True):
        name = match["name"]
        first, last = _range(name, match["range"])
        aspects.append(
            {"level": level, "name": name, "first": first, "last": last}
        )
    return aspects


def _of_each_sentence(text: str) -> list[Fields]:
    """Aspects of lines that name a sentence's aspect; sentences in a row with one name are one
    range, and a name behind a stroke is a part of the one before it.
    """
    aspects: list[Fields] = []
    # The aspects that may go on with the next sentence, outermost first.
    running: list[Fields] = []
    for line in text.splitlines():
        match = _SENTENCE.match(line[:_MOST_LINE])
        if not match:
            continue
        number = float(match["number"])
        names = match["name"].rstrip().split(" / ")
        kept = _going_on(running, names, number)
        for aspect in running[:kept]:
            aspect["last"] = number
        running = running[:kept]
        for level, name in enumerate(names[kept:], kept):
            aspect = {
                "level": float(level),
                "name": name,
                "first": number,
                "last": number,
            }
            running.append(aspect)
            aspects.append(aspect)
    return aspects


def _going_on(running: list[Fields], names: list[str], number: float) -> int:
    """How many of the running aspects, from the outermost on, also hold this sentence."""
    kept = 0
    for aspect, name in zip(running, names, strict=False):
        if aspect["last"] != number - 1:
            break
        if aspect["name"].casefold() != name.casefold():
            break
        kept += 1
    return kept


def _levels(depths: list[int]) -> list[float]:
    """The level of each line, whatever the blanks a level."""
    path: list[int] = []
    levels = []
    for depth in depths:
        while path and path[-1] >= depth:
            path.pop()
        levels.append(float(len(path)))
        path.append(depth)
    return levels


def _range(name: str, text: str) -> tuple[float, float]:
    """First and last sentence of "1-4" or "1, 2, 3"."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    first = numbers[0]
    if len(numbers) > 2 or re.search(r"[,;&]|and", text):
        # A list of numbers is a range where none is left out.
        in_a_row = list(range(first, first + len(numbers)))
        if numbers != in_a_row:
            raise Unreadable("out_of_range", f"{name}: {text[:80]}")
    return float(first), float(numbers[-1])


def _check(aspects: list[Fields], count: int) -> None:
    """Raises Unreadable where ranges do not fit the sentences, or each other."""
    path: list[Fields] = []
    covered: list[int] = []
    for aspect, after in zip(aspects, [*aspects[1:], None], strict=True):
        level = aspect["level"]
        first = aspect["first"]
        last = aspect["last"]
        path = [parent for parent in path if parent["level"] < level]
        low = 1
        high = count
        if path:
            low = path[-1]["first"]
            high = path[-1]["last"]
        if level != len(path) or not low <= first <= last <= high:
            span = f"{first:.0f}-{last:.0f}"
            raise Unreadable("out_of_range", f"{aspect['name']}: {span}")
        # An aspect without a deeper one behind it is a leaf.
        if after is None or after["level"] <= level:
            covered += range(int(first), int(last) + 1)
        path.append(aspect)
    if sorted(covered) != list(range(1, count + 1)):
        different = len(set(covered))
        raise Unreadable("not_covered", f"{different} of {count} sentences")
