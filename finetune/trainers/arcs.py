"""Dependency trees in a training: batches, and what its losses compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetune.core.rows import JsonObject, without
from finetune.core.tensors import Inputs, Labels, Logits, Mask
from finetune.data.tokens import IGNORED
from finetune.students.arcs import ArcScores
from finetune.trainers.distill_encoder import Compared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Column of a word -> what fills it up where a row has fewer.
_FILLED = {"firsts": -1, "labels": IGNORED, "relations": IGNORED, "counted": 0}
# What of a batch no model reads.
NO_INPUTS = ("labels", "relations", "counted")


class ArcsCollator:
    """Pads rows of `arc_rows.of_arcs`, tokens and words.

    Args:
        tokenizer: that pads.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        """A batch."""
        plain = [without(row, tuple(_FILLED)) for row in rows]
        padded = self.tokenizer.pad(plain, return_tensors="pt")
        batch: dict[str, Tensor] = dict(padded)
        for name in _FILLED:
            if name in rows[0]:
                batch[name] = filled(name, [row[name] for row in rows])
        return batch


def filled(name: str, cells: Sequence[Sequence[int]]) -> Tensor:
    """[B, W] numbers of words, filled up to the longest row."""
    most = max(map(len, cells))
    made = torch.full((len(cells), most), _FILLED[name])
    for number, cell in enumerate(cells):
        made[number, : len(cell)] = torch.tensor(cell, dtype=torch.long)
    return made


def scored(
    model: Any, inputs: Inputs, device: torch.device, heads: Tensor
) -> ArcScores:
    """What a model says of a batch.

    Args:
        model: with a head for arcs.
        inputs: the batch.
        device: where the model is.
        heads: [B, W] for which relations are scored; -100 for those that it finds.
    """
    read = {
        name: value.to(device)
        for name, value in inputs.items()
        if name not in NO_INPUTS
    }
    scores: ArcScores = model(heads=heads.to(device), **read)
    return scores


def labelled(scores: ArcScores, inputs: Inputs) -> list[tuple[Logits, Labels]]:
    """(logits, labels) of heads and of relations."""
    return [
        (scores.logits, inputs["labels"]),
        (scores.relations, inputs["relations"]),
    ]


def compared(
    ours: ArcScores, theirs: ArcScores, inputs: Inputs
) -> list[Compared]:
    """What losses compare: the heads of each word, and its relations to the same heads.

    Args:
        ours: of the student.
        theirs: of the teacher, for the same heads.
        inputs: the batch.
    """
    counted: Mask = inputs["counted"].bool()
    said = (theirs.logits, theirs.relations)
    return [
        Compared(logits, other.to(logits.device), labels, counted)
        for (logits, labels), other in zip(
            labelled(ours, inputs), said, strict=True
        )
    ]
