"""Those who hear a text while it is written, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import StoppingCriteria

from finetune.core.tensors import NextScores, TokenIds


class Listener(Protocol):
    """Of one text.

    Attributes:
        has_left: whether nobody waits for the text any longer: the rest is not written.
    """

    has_left: bool

    def hear(self, token: int) -> None:
        """A token, once it is written; behind the end of the text come others, which do not
        count.
        """


class Heard(StoppingCriteria):  # type: ignore[misc]
    """Tells listeners each token of their row, and ends the rows whose listeners have left.

    Args:
        listeners: one a row.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners

    def __call__(
        self,
        input_ids: TokenIds,
        scores: NextScores,  # noqa: ARG002
        **_: object,
    ) -> Tensor:
        """[B] whether each row is over."""
        last = input_ids[:, -1].tolist()
        for listener, token in zip(self.listeners, last, strict=True):
            listener.hear(token)
        left = [listener.has_left for listener in self.listeners]
        return torch.tensor(left, device=input_ids.device)
