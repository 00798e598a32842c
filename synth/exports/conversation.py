"""Conversations of one question an element, also about what the text does not have."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Fields
from synth.exports.base import Export, spec_of
from synth.exports.base_retrieval import elements
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Conversation(Export):
    """One row `{id, messages}` per kept row: an opening pair, then one pair an element, in an order
    drawn by the row.

    Names that a row lacks are asked for too, drawn without repetition with chances in proportion to
    how often they stand in the whole run (UniversalNER, arXiv:2308.03279, section 3.2); the answer
    is the pack's `nothing`.

    Args:
        absent: how many such questions a row.
        seed: of the draws.
    """

    absent: int = 2
    seed: int = 0

    counts: ClassVar[Mapping[str, int]] = {"absent": 0}

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows, in the order of the run.

        Raises:
            WrongUse: the pack has no `conversation` export.
        """
        spec = spec_of(pack, "conversation", "--to conversation")
        opening = pack.exports["conversation"]["opening"]
        turn = pack.exports["conversation"]["turn"]
        counts = (
            Counter(
                str(e.get(spec.name))
                for row in run.rows()
                for e in elements(row, spec.each)
            )
            if self.absent
            else Counter[str]()
        )
        for row in run.rows():
            values = pack.values(row)
            rng = random.Random(f"{self.seed} {row['id']}")
            listed = list(elements(row, spec.each))
            named = {str(element.get(spec.name)): element for element in listed}
            asked = [
                ({**values, **element}, "assistant")
                for element in (listed if spec.ordered else named.values())
            ]
            if not spec.ordered:
                missing = _draw(
                    {
                        name: n
                        for name, n in counts.items()
                        if name not in named
                    },
                    self.absent,
                    rng,
                )
                asked += [
                    (
                        {**values, spec.name: name, "index": -1, "item": None},
                        "nothing",
                    )
                    for name in missing
                ]
                rng.shuffle(asked)
            first = (
                [
                    (
                        opening["opening"].render(values),
                        opening["reply"].render(values),
                    )
                ]
                if spec.opening
                else []
            )
            pairs = [
                *first,
                *(
                    (turn["user"].render(seen), turn[side].render(seen))
                    for seen, side in asked
                ),
            ]
            messages = [
                {"role": role, "content": text}
                for pair in pairs
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
            yield {"id": row["id"], "messages": messages}


def _draw(counts: dict[str, int], most: int, rng: random.Random) -> list[str]:
    """Names without repetition, each drawn with a chance in proportion to its count (keys of
    Efraimidis and Spirakis 2006).
    """
    return sorted(
        counts, key=lambda name: -(rng.random() ** (1 / counts[name]))
    )[:most]
