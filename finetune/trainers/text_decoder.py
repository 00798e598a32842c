"""A small decoder that writes a text again from one vector."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from finetune.core.tensors import HiddenStates, Mask, PerSequence, TokenIds

LatentVectors = Annotated[Tensor, "batch latent"]
WordVectors = Annotated[Tensor, "vocabulary width"]


class TextDecoder(torch.nn.Module):
    """A recurrent network (GRU) that reads a vector beside every word, and once more before it
    chooses the next one (Wieting et al., arXiv:1911.03895, section 3, have a transformer).

    The words' vectors are those of an encoder, for reading and for choosing.

    Args:
        words: of the vocabulary.
        width: of a word's vector.
        latent: numbers of the vector that a text is written from.
        hidden: share of the words before that the decoder does not see while it learns, 0 to
            below 1: what it cannot read it must take from the vector (arXiv:1511.06349, section
            3.2.2).
    """

    def __init__(
        self, words: int, width: int, latent: int, hidden: float
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.start = torch.nn.Parameter(torch.zeros(width))
        self.unseen = torch.nn.Parameter(torch.zeros(width))
        self.reader = torch.nn.GRU(width + latent, width, batch_first=True)
        self.last = torch.nn.Linear(width + latent, width)
        self.bias = torch.nn.Parameter(torch.zeros(words))

    def forward(
        self,
        ids: TokenIds,
        mask: Mask,
        latent: LatentVectors,
        vectors: WordVectors,
    ) -> PerSequence:
        """[B] -log p of each text in nats, the sum over its tokens.

        Args:
            ids: [B, T].
            mask: [B, T], 1 where a token counts.
            latent: [B, Z] what each text is written from.
            vectors: [V, D] of the vocabulary.
        """
        words = vectors[ids]
        before = self._before(words)
        count = ids.shape[1]
        beside = latent[:, None].expand(-1, count, -1)
        read = torch.cat([before, beside], dim=-1)
        states, _ = self.reader(read)
        seen = torch.cat([states, beside], dim=-1)
        logits = self.last(seen) @ vectors.T
        by_word = (logits + self.bias).transpose(1, 2)
        losses = torch.nn.functional.cross_entropy(
            by_word,
            ids,
            reduction="none",
        )
        counted = losses * mask
        return counted.sum(dim=1)

    def _before(self, words: HiddenStates) -> HiddenStates:
        """What stands before each word: the start, then the words but the last."""
        seen = words[:, :-1]
        if self.training and self.hidden:
            places = seen.shape[:2]
            drawn = torch.rand(places, device=seen.device)
            is_hidden = drawn < self.hidden
            seen = torch.where(
                is_hidden[..., None],
                self.unseen,
                seen,
            )
        start = self.start.expand(len(words), 1, -1)
        return torch.cat([start, seen], dim=1)
