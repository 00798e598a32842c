"""A student that writes all tokens at once learns by CTC, and at first by a lexical prior."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs, Scalar
from finetune.data.tokens import IGNORED
from finetune.objectives.lexical_prior import prior_kl
from finetune.students.mask_predict import padded
from finetune.trainers.prior import PriorTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# A token before a text, and one behind it.
_ENDS = 2
# Of a student whose configuration names no limit.
_MOST_PLACES = 512


class Stretch(NamedTuple):
    """How a student reads.

    Attributes:
        times: places of each source token.
        blank: the token that says nothing.
        first: the token before all; None for none.
        last: the token behind all; None for none.
    """

    times: int
    blank: int
    first: int | None
    last: int | None

    def read(self, source: Sequence[int]) -> list[int]:
        """What the student reads of a text."""
        middle = [token for token in source for _ in range(self.times)]
        start = [] if self.first is None else [self.first]
        end = [] if self.last is None else [self.last]
        return [*start, *middle, *end]


def stretch_of(tokenizer: PreTrainedTokenizerBase, times: int) -> Stretch:
    """The reading of a tokenizer's texts."""
    return Stretch(
        times,
        tokenizer.pad_token_id,
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
    )


def source_tokens(model: PreTrainedModel, times: int) -> int:
    """Tokens of a prompt that a student reads at most; 0 where not even one takes so many places.

    Args:
        model: the student.
        times: places of each token.
    """
    limit = int(getattr(model.config, "max_position_embeddings", _MOST_PLACES))
    for name, part in model.named_modules():
        # RoBERTa and its kin count places from behind the padding's number on.
        padding = getattr(part, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            limit -= padding + 1
    return (limit - _ENDS) // times


def places_needed(target: Sequence[int]) -> int:
    """Places that a text takes at least: a blank stands between two of the same tokens.

    >>> places_needed([5, 5, 7])
    4
    """
    pairs = itertools.pairwise(target)
    return len(target) + sum(one == two for one, two in pairs)


def collapsed(tokens: Sequence[int], blank: int) -> list[int]:
    """The text that places say: tokens that are repeated count once, blanks not at all.

    >>> collapsed([5, 5, 0, 5, 7], 0)
    [5, 5, 7]
    """
    pairs = itertools.pairwise([blank, *tokens])
    return [two for one, two in pairs if two not in (one, blank)]


class CtcCollator:
    """Pads rows of `source` and `target` ids.

    Args:
        stretch: how the student reads.
    """

    def __init__(self, stretch: Stretch) -> None:
        self.stretch = stretch

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        """A batch: input_ids and attention_mask of the student, source (-1 for padding), labels
        (-100 for padding).
        """
        blank = self.stretch.blank
        read = [self.stretch.read(row["source"]) for row in rows]
        ids = padded(read, blank)
        return {
            "input_ids": ids,
            "attention_mask": (padded(read, -1) >= 0).long(),
            "source": padded([row["source"] for row in rows], -1),
            "labels": padded([row["target"] for row in rows], IGNORED),
        }


def places(model: PreTrainedModel, batch: Inputs, stretch: Stretch) -> Tensor:
    """[B, S x times, V] log-probabilities at the places of the source tokens."""
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).logits
    start = int(stretch.first is not None)
    width = batch["source"].shape[1] * stretch.times
    logs: Tensor = logits[:, start : start + width].float().log_softmax(dim=-1)
    return logs


class CtcTrainer(PriorTrainer):
    """Minimises CTC, in nats a target token, and `prior_kl` as a `PriorTrainer` does.

    Args:
        stretch: how the student reads.
        options: of a `PriorTrainer`.
    """

    def __init__(self, *, stretch: Stretch, **options: Any) -> None:
        super().__init__(**options)
        self.stretch = stretch

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Any]:
        """The loss of one batch."""
        logs = places(model, inputs, self.stretch)
        labels = inputs["labels"]
        source = inputs["source"]
        total = (
            torch.nn.functional.ctc_loss(
                logs.transpose(0, 1),
                labels.clamp(min=0),
                (source >= 0).sum(dim=1) * self.stretch.times,
                (labels != IGNORED).sum(dim=1),
                blank=self.stretch.blank,
                reduction="sum",
            )
            / (labels != IGNORED).sum()
        )
        self.note("ctc", total)
        shape = (*source.shape, self.stretch.times, logs.shape[-1])
        total = self.with_prior(
            total,
            lambda prior: prior_kl(
                logs.view(shape), source, prior, self.stretch.blank
            ),
        )
        return (total, {"logits": logs}) if return_outputs else total
