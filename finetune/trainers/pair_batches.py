"""Batches of two authors: the teacher's texts, and behind them the student's texts to the same
prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs
from finetune.data.tokens import IGNORED

# [B] True where the teacher wrote the text.
AUTHOR = "by_teacher"
# Columns of the student's text, in a row whose `input_ids` and `labels` are the teacher's.
STUDENT_COLUMNS = ("student_ids", "student_labels")

Collator = Callable[[Sequence[JsonObject]], dict[str, Tensor]]


@dataclass(frozen=True)
class PairCollator:
    """Rows with both texts become one batch of twice as many.

    Args:
        plain: makes a batch of `input_ids` and `labels`.
    """

    plain: Collator

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        """The batch, with its authors; rows of one text, which are measured, as they are."""
        if STUDENT_COLUMNS[0] not in rows[0]:
            return self.plain(rows)
        theirs = [
            {"input_ids": row["input_ids"], "labels": row["labels"]}
            for row in rows
        ]
        ours = [
            {"input_ids": row["student_ids"], "labels": row["student_labels"]}
            for row in rows
        ]
        batch = dict(self.plain([*theirs, *ours]))
        batch[AUTHOR] = torch.arange(2 * len(rows)) < len(rows)
        return batch


def teachers_half(batch: Inputs) -> Inputs:
    """The rows that the teacher wrote."""
    if AUTHOR not in batch:
        return batch
    return {
        name: value[batch[AUTHOR]]
        for name, value in batch.items()
        if name != AUTHOR
    }


def joined(theirs: Inputs, ours: Inputs, pad: int) -> dict[str, Tensor]:
    """The teacher's rows and the student's behind them, filled up at their ends."""
    fills = {"input_ids": pad, "labels": IGNORED, "attention_mask": 0}
    width = max(theirs["input_ids"].shape[1], ours["input_ids"].shape[1])
    batch = {}
    for name, fill in fills.items():
        sides = [side[name].cpu() for side in (theirs, ours)]
        wide = [
            torch.nn.functional.pad(
                side, (0, width - side.shape[1]), value=fill
            )
            for side in sides
        ]
        batch[name] = torch.cat(wide)
    first = len(theirs["input_ids"])
    batch[AUTHOR] = torch.arange(len(batch["labels"])) < first
    return batch
