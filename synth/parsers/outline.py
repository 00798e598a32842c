"""An outline of numbered sentences: aspects with ranges, so that text is copied, not written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.records import Row

# A longer line names no aspect; a name is looked for from each of its signs.
_MOST_LINE = 1000
_ASPECT = re.compile(r"^(?P<depth> *)- (?P<name>.+?): *(?P<first>\d{1,5})(?: *- *(?P<last>\d{1,5}))? *$")
_SCOPE = re.compile(r"^[^\S\n]*scope: *+([^\n]+)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Outline(Parser):
    r"""Reads `scope: ...` and lines `- aspect: 1-4`, indented by two spaces a level; every sentence must stand in exactly one leaf.

    Args:
        of: the field with the list of sentences, numbered from 1.

    Reasons:
        no_outline: no scope, or no aspect.
        out_of_range: a range that the sentences do not have, or that its parent does not hold.
        not_covered: a sentence in no aspect of the lowest level, or in two.

    Example:
        >>> Outline().parse("scope: a ship\n- past: 1-2\n- now: 3", {"sentences": ["a", "b", "c"]})["aspects"][1]
        {'level': 0.0, 'name': 'now', 'first': 3.0, 'last': 3.0}
    """

    of: str = "sentences"

    reasons: ClassVar[dict[str, str]] = {
        "no_outline": "no scope or no aspect", "out_of_range": "a range that is not there", "not_covered": "a sentence in none, or in two",
    }  # fmt: skip

    def produces(self) -> dict[str, Any]:
        """Scope and aspects."""
        return {"scope": "text", "aspects": {"level": "number", "name": "text", "first": "number", "last": "number"}}

    def read(self, text: str, row: Row) -> dict[str, Any]:
        """The outline."""
        scope = _SCOPE.search(text)
        found = [match for line in text.splitlines() if len(line) <= _MOST_LINE and (match := _ASPECT.match(line))]
        if not scope or not found:
            raise Unreadable("no_outline", text[-80:])
        aspects = [
            {"level": len(m["depth"]) / 2, "name": m["name"], "first": float(m["first"]), "last": float(m["last"] or m["first"])}
            for m in found
        ]
        _check(aspects, len(row.get(self.of) or []))
        return {"scope": scope[1].rstrip(" "), "aspects": aspects}


def _check(aspects: list[dict[str, Any]], count: int) -> None:
    """Raises Unreadable where ranges do not fit the sentences, or each other."""
    path: list[dict[str, Any]] = []
    covered: list[float] = []
    for aspect, after in zip(aspects, [*aspects[1:], None], strict=True):
        path = [parent for parent in path if parent["level"] < aspect["level"]]
        low, high = (path[-1]["first"], path[-1]["last"]) if path else (1, count)
        if aspect["level"] != len(path) or not low <= aspect["first"] <= aspect["last"] <= high:
            raise Unreadable("out_of_range", f"{aspect['name']}: {aspect['first']:.0f}-{aspect['last']:.0f}")
        if after is None or after["level"] <= aspect["level"]:
            covered += range(int(aspect["first"]), int(aspect["last"]) + 1)
        path.append(aspect)
    if sorted(covered) != list(range(1, count + 1)):
        raise Unreadable("not_covered", f"{len(set(covered))} of {count} sentences")
