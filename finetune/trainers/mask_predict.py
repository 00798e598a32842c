"""A student that fills masked tokens of a text beside its prompt (CMLM, arXiv:1904.09324)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs, Scalar
from finetune.data.tokens import IGNORED
from finetune.objectives.lexical_prior import aligned_kl
from finetune.students.mask_predict import (
    Reading,
    length_scores,
    token_scores,
)
from finetune.trainers.prior import PriorTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What of a batch is read with the prompts alone.
_ALONE = "prompt_"
_BESIDE = ("labels", "aligned", "lengths")


class MaskingCollator:
    """Masks tokens of each text anew: of n any number from 1 to n, each as likely, and of each
    number any tokens.

    Args:
        reading: how the student reads.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        """A batch of rows with `source`, `target` and `aligned` ids: what the student reads, its
        prompts alone, labels and aligned source tokens of masked places (-100 and -1 elsewhere),
        lengths.
        """
        sources = [row["source"] for row in rows]
        texts = [row["target"] for row in rows]
        read, spots = self.reading.inputs(sources, texts)
        masked = spots & drawn(spots)
        ids = read["input_ids"]
        aligned = torch.full_like(ids, -1)
        told = [token for row in rows for token in row["aligned"]]
        aligned[spots] = torch.tensor(told)
        nothing: list[list[int]] = [[] for _ in rows]
        alone, _ = self.reading.inputs(sources, nothing)
        return {
            **read,
            "input_ids": ids.masked_fill(masked, self.reading.mask),
            "labels": ids.masked_fill(~masked, IGNORED),
            "aligned": aligned.masked_fill(~masked, -1),
            "lengths": torch.tensor([len(text) for text in texts]),
            **{f"{_ALONE}{name}": value for name, value in alone.items()},
        }


def drawn(spots: Tensor) -> Tensor:
    """[B, T] which tokens of texts are masked: as many as is drawn, 1 to all of a text.

    Args:
        spots: [B, T] which tokens are of texts.
    """
    counts = spots.sum(dim=1)
    numbers = 1 + (torch.rand(len(counts)) * counts).long()
    keys = torch.rand(spots.shape).masked_fill(~spots, 2.0)
    ranks = keys.argsort(dim=1).argsort(dim=1)
    return ranks < numbers.clamp(max=counts)[:, None]


class MaskPredictTrainer(PriorTrainer):
    """Minimises the cross-entropy of masked tokens, with `aligned_kl` as a `PriorTrainer` does, and
    that of lengths; both are means, in nats.

    Args:
        options: of a `PriorTrainer`.
    """

    def __init__(self, **options: Any) -> None:
        args = options["args"]
        if args.world_size > 1:
            # Each step reads twice and uses all weights; scores of lengths hang outside of what is
            # read, and a search for unused weights would take them for such.
            args.ddp_find_unused_parameters = False
        super().__init__(**options)

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Any]:
        """The loss of one batch."""
        read: dict[str, Tensor] = {}
        alone: dict[str, Tensor] = {}
        for name, value in inputs.items():
            if name.startswith(_ALONE):
                alone[name.removeprefix(_ALONE)] = value
            elif name not in _BESIDE:
                read[name] = value
        logits = token_scores(model, read)
        masked = inputs["labels"] != IGNORED
        logs = logits[masked].float().log_softmax(dim=-1)
        tokens = torch.nn.functional.nll_loss(logs, inputs["labels"][masked])
        self.note("tokens", tokens)
        aligned = inputs["aligned"][masked]
        total = self.with_prior(
            tokens, lambda prior: aligned_kl(logs, aligned, prior)
        )
        scores = length_scores(model, alone).float()
        lengths = cross_entropy(scores, inputs["lengths"])
        self.note("lengths", lengths)
        total = total + lengths
        return (total, {"logits": logits}) if return_outputs else total
