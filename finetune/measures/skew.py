"""Whether texts that have nothing to do with a question change its answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, by_group, of_variant, reply_of
from synth.core.records import Row

PLAIN = "plain"
_UNSURE = re.compile(
    r"\b(?:not sure|unsure|uncertain|cannot (?:be determined|tell|answer)|"
    r"can't (?:tell|answer)|(?:do not|don't) know|no idea)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Skew(Measure):
    """Misrepresentation ratio: of questions that the student answers right by themselves (rows with
    the same `group`, of `variant` plain), the share of their other variants, with texts beside,
    that it then answers wrong. 0 is best (irrelevant inputs, arXiv:2404.03302, section 3.3).

    A variant in which it says that it is not sure is wrong too, and is counted apart.

    Example:
        >>> plain, beside = {"variant": "plain", "right": True}, {"variant": "related"}
        >>> Skew().of_question([plain, {**beside, "right": False}, {**beside, "right": True}])
        0.5
    """

    needs_gold: ClassVar[bool] = False

    def units(self, predictions: Sequence[Row]) -> Mapping[bytes, list[Row]]:
        return by_group(predictions, "skew")

    def of_question(self, draws: Sequence[Row]) -> float | None:
        others = _others(draws)
        if not others:
            return None
        return fmean(not row.get("right") for row in others)

    def more(self, predictions: Sequence[Row]) -> JsonObject:
        """unsure, the share of those variants in which the student says that it is not sure, and
        both shares a variant.
        """
        wrong: dict[str, list[bool]] = defaultdict(list)
        unsure: dict[str, list[bool]] = defaultdict(list)
        for draws in self.units(predictions).values():
            for row in _others(draws):
                name = str(row.get("variant"))
                wrong[name].append(not row.get("right"))
                unsure[name].append(bool(_UNSURE.search(reply_of(row))))
        if not wrong:
            return {}
        variants = {}
        for name in sorted(wrong):
            variants[name] = {
                "wrong": round(fmean(wrong[name]), 4),
                "unsure": round(fmean(unsure[name]), 4),
                "rows": len(wrong[name]),
            }
        told = [flag for flags in unsure.values() for flag in flags]
        return {"unsure": round(fmean(told), 4), "variants": variants}


def _others(draws: Sequence[Row]) -> list[Row]:
    """The variants of a question that is answered right by itself; none of another."""
    plain = of_variant(draws, PLAIN)
    if not plain or not plain[0].get("right"):
        return []
    return [row for row in draws if row.get("variant") != PLAIN]
