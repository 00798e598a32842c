"""Right and wrong replies with their labels, for KTO, signed weights and rankers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from synth.core.records import Fields
from synth.exports.base import Export
from synth.packs.pack import Pack
from synth.runs.marks import mark, split_name
from synth.runs.pairing import WRONG
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Labelled(Export):
    """One row `{id, prompt, completion, label, weight}` per kept row and per row dropped because it
    is wrong.

    KTO reads `label`; `finetune sft` reads `weight`, which may be negative (negative training,
    arXiv:2312.12832, section 3.2). A reply that no parser read is neither right nor wrong and is
    left out.

    Args:
        reasons: reason codes of dropped rows that are wrong.
        wrong: weight of a wrong row; right ones weigh 1.
        by: FILTER.MARK, such as `critic.score` (0 to 1): a right row weighs its score s, a wrong
            one s - 1, as QCRD has it (arXiv:2405.13014); rows without a score keep the weights
            above.
    """

    reasons: tuple[str, ...] = WRONG
    wrong: float = -0.05
    by: str | None = None

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:  # noqa: ARG002
        """Training rows: the kept ones, then the wrong ones, each in the order of the run."""
        dropped = (
            row for row in run.rows("dropped") if row["reason"] in self.reasons
        )
        marked = chain(
            ((row, True) for row in run.rows()),
            ((row, False) for row in dropped),
        )
        name = split_name(self.by) if self.by else None
        for row, right in marked:
            if row.get("prompt") is not None and row.get("completion"):
                score = mark(row, name) if name else None
                if score is not None:
                    weight = score - (not right)
                else:
                    weight = 1.0 if right else float(self.wrong)
                yield {
                    "id": row["id"],
                    "prompt": row["prompt"],
                    "completion": row["completion"],
                    "label": right,
                    "weight": weight,
                }
