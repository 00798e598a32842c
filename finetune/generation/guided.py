"""Decoding away from another prompt: classifier-free guidance (Sanchez et al.,
arXiv:2306.17806).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from finetune.core.tensors import NextScores, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenLogits = Annotated[Tensor, "vocabulary"]


def guided(
    prompt: TokenLogits, other: TokenLogits, scale: float
) -> TokenLogits:
    """[..., V] log p(other) + scale (log p(prompt) - log p(other)), section 2.2.

    Args:
        prompt: [..., V] logits behind the prompt.
        other: [..., V] those behind the prompt that is left behind.
        scale: 1 for the prompt as it is; above 1 for what the other prompt finds unlikely.

    >>> found = guided(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), 2.0)
    >>> round(float(found[1] - found[0]), 4)
    1.0
    """
    known = torch.log_softmax(other, dim=-1)
    wanted = torch.log_softmax(prompt, dim=-1)
    return known + scale * (wanted - known)


def guided_generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]],
    *,
    scale: float,
    most: Sequence[int],
    ends: Collection[int] = (),
) -> list[list[int]]:
    """Greedy decoding of `guided` logits, of all rows at once; both prompts of a row are followed
    by the same reply.

    Args:
        model: a causal language model.
        prompts: token ids of each row.
        others: those of the prompt that each row leaves behind.
        scale: see `guided`.
        most: new tokens of each row at most.
        ends: token ids that end a reply.

    Returns:
        The new token ids of each row, with the end where there is one.

    Raises:
        ValueError: logits that are no numbers.
    """
    said: list[list[int]] = [[] for _ in prompts]
    sides = [_Side(model, prompts), _Side(model, others)]
    waiting = {row for row, count in enumerate(most) if count > 0}
    tokens = None
    while waiting:
        wanted, left = (side.read(tokens) for side in sides)
        scores = guided(wanted, left, scale)
        if scores[sorted(waiting)].isnan().any():
            raise ValueError("logits that are no numbers")
        tokens = scores.argmax(dim=-1)
        for row in sorted(waiting):
            token = int(tokens[row])
            said[row].append(token)
            if token in ends or len(said[row]) == most[row]:
                waiting.remove(row)
    return said


class _Side:
    """Prompts that are read once, filled up on their left, and what follows them."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]
    ) -> None:
        width = max(map(len, prompts))
        shape = (len(prompts), width)
        # What fills up is masked, so any id serves.
        ids = torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            start = width - len(prompt)
            ids[row, start:] = torch.as_tensor(prompt)
            mask[row, start:] = 1
        self.model = model
        self.ids = ids.to(model.device)
        self.mask = mask.to(model.device)
        # Others count the places by the mask.
        self.has_places = "position_ids" in signature(model.forward).parameters
        self.cache: object = None

    def read(self, tokens: TokenIds | None) -> NextScores:
        """[B, V] logits behind the prompts, or behind the next token of each row, [B]."""
        ids = self.ids
        if tokens is not None:
            ids = tokens[:, None]
            self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        options: dict[str, object] = {}
        if self.has_places:
            places = (self.mask.cumsum(dim=1) - 1).clamp(min=0)
            options["position_ids"] = places[:, -ids.shape[1] :]
        with torch.no_grad():
            found = self.model(
                input_ids=ids,
                attention_mask=self.mask,
                past_key_values=self.cache,
                use_cache=True,
                **options,
            )
        self.cache = found.past_key_values
        scores: NextScores = found.logits[:, -1].float()
        return scores
