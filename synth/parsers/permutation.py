"""An order of numbered texts, repaired where a few numbers are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser

_NUMBER = lazy_pattern(r"(?<![\d.])\d{1,6}(?![\d]|\.\d)")
_ONE = r"(?:(?:passage|document|doc|text|id|no\.?)\s{0,2}#?\s?)?[\[(*]{0,3}\d{1,6}[\])*]{0,3}"
# "[2] > [3] > [1]", "2, 3, 1", "Passage 2 > Passage 3".
_CHAIN = lazy_pattern(
    rf"{_ONE}(?:\s{{0,3}}(?:>=?|&gt;|\u227b|\u2192|->|=|,|;)\s{{0,3}}(?:and\s)?{_ONE})+",
    re.IGNORECASE,
)
_PLAIN_CHAIN = lazy_pattern(r"\[[0-9]{1,6}\](?: ?> ?\[[0-9]{1,6}\])*")
_IN_BRACKETS = lazy_pattern(r"\[\s?(\d{1,6})\s?\]")
_NAMED = lazy_pattern(
    r"\b(?:passage|document|doc|text)\s{0,2}#?(\d{1,6})\b", re.IGNORECASE
)
# The rank at the start of a line that names a text behind it: "1. [2]", "1st: passage 2".
_RANK = lazy_pattern(
    r"^[^\S\n]*+(?:[*_#-]{1,3}\s?)?(?:rank\s?)?\d{1,4}(?:[.):]|st\b|nd\b|rd\b|th\b)(?=[^\n]*\d)",
    re.IGNORECASE | re.MULTILINE,
)
_WORSE_FIRST = lazy_pattern(
    r"\d\s?[\])*]{0,3}\s{0,3}(?:<|&lt;)\s{0,3}[\[(*]{0,3}\s?\d"
)


@dataclass(frozen=True, kw_only=True)
class Permutation(Parser):
    """Reads `[2] > [3] > [1]` as the rank of each text of a list: 1 for the best.

    | reply | order |
    |---|---|
    | `[2] > [3] > [1]`, `2 > 3 > 1`, `2, 3, 1`, bold, in a fence | 2 3 1 |
    | `Passage 2 > Passage 3 > Passage 1` | 2 3 1 |
    | `Ranking the 3 passages: [2] > [3] > [1]`, `[1] is short. Final: [2] > [3] > [1]` | 2 3 1 |
    | `1. [2]`, `2. [3]`, `3. [1]` on lines; `1st: passage 2` ...; bare numbers on lines | 2 3 1 |
    | `[1] < [3] < [2]` | none: no order was asked for that begins with the worst |

    Of several rows of numbers the longest counts, of equally long ones the last. Numbers out of
    range and repeated ones are passed over, missing texts come last in order, as RankGPT has it
    (arXiv:2304.09542); what was repaired is counted, and a list with too many repairs is no list.

    Args:
        of: the field with the list that was numbered from 1.
        most_repaired: largest share of the texts that may have been missing.

    Reasons:
        no_order: no number of a text.
        too_much_missing: more texts missing than `most_repaired` allows.

    Example:
        >>> Permutation(of="texts").parse("[3] > [1]", {"texts": ["a", "b", "c"]})
        {'ranks': [2.0, 3.0, 1.0], 'repaired': 1.0}
    """

    of: str = "documents"
    most_repaired: float = 0.34

    main: ClassVar[str] = "ranks"
    fields: ClassVar[dict[str, str]] = {
        "ranks": "numbers",
        "repaired": "number",
    }
    reasons: ClassVar[dict[str, str]] = {
        "no_order": "no number of a text",
        "too_much_missing": "too many texts missing",
    }

    def read(self, text: str, row: Row) -> Fields:
        count = len(row.get(self.of) or [])
        order = _plain_order(text, count)
        if order is None:
            order = [] if _WORSE_FIRST.search(text) else _order(text, count)
        if not order:
            raise Unreadable("no_order", text[-80:])
        named = set(order)
        missing = [n for n in range(1, count + 1) if n not in named]
        if len(missing) > self.most_repaired * count:
            raise Unreadable("too_much_missing", f"{len(missing)} of {count}")
        rank_of = {
            n: float(rank) for rank, n in enumerate([*order, *missing], 1)
        }
        return {
            "ranks": [rank_of[n] for n in range(1, count + 1)],
            "repaired": float(len(missing)),
        }


def _plain_order(text: str, count: int) -> list[int] | None:
    """The numbers of a reply that is `[2] > [3] > [1]` and no more; None for any other.

    It says what `_order` says, sooner.
    """
    chain = text.strip()
    if not _PLAIN_CHAIN.fullmatch(chain):
        return None
    return _within(
        chain[1:-1].replace("]", "").replace("[", "").split(">"), count
    )


def _order(text: str, count: int) -> list[int]:
    """The numbers of texts in the order in which a reply puts them, each once."""
    chains = [
        _within(_NUMBER.findall(chain), count) for chain in _CHAIN.findall(text)
    ]
    longest = max(reversed(chains), key=len, default=[])
    unranked = _RANK.sub("", text)
    listed = next(
        filter(
            None,
            (
                _within(way.findall(unranked), count)
                for way in (_IN_BRACKETS, _NAMED, _NUMBER)
            ),
        ),
        [],
    )
    least = 2 if "[" not in text else max(2, len(listed))
    return longest if len(longest) >= least else listed


def _within(numbers: list[str], count: int) -> list[int]:
    return [
        number
        for number in dict.fromkeys(map(int, numbers))
        if 1 <= number <= count
    ]
