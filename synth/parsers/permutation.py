"""An order of numbered texts, repaired where a few numbers are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.records import Row

_NUMBER = re.compile(r"\d{1,6}")


@dataclass(frozen=True, kw_only=True)
class Permutation(Parser):
    """Reads `[2] > [3] > [1]` as the rank of each text of a list: 1 for the best.

    Numbers out of range and repeated ones are passed over, missing texts come last in order, as RankGPT has it (arXiv:2304.09542);
    what was repaired is counted, and a list with too many repairs is no list.

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
    fields: ClassVar[dict[str, str]] = {"ranks": "numbers", "repaired": "number"}
    reasons: ClassVar[dict[str, str]] = {"no_order": "no number of a text", "too_much_missing": "too many texts missing"}

    def read(self, text: str, row: Row) -> dict[str, Any]:
        """The ranks."""
        count = len(row.get(self.of) or [])
        said = list(dict.fromkeys(n for n in map(int, _NUMBER.findall(text)) if 1 <= n <= count))
        if not said:
            raise Unreadable("no_order", text[-80:])
        named = set(said)
        missing = [n for n in range(1, count + 1) if n not in named]
        if len(missing) > self.most_repaired * count:
            raise Unreadable("too_much_missing", f"{len(missing)} of {count}")
        place = {n: float(rank) for rank, n in enumerate([*said, *missing], 1)}
        return {"ranks": [place[n] for n in range(1, count + 1)], "repaired": float(len(missing))}
