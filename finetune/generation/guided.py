"""Decoding away from another prompt: classifier-free guidance (Sanchez et al.,
arXiv:2306.17806).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from finetune.core.tensors import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenLogits = Annotated[Tensor, "vocabulary"]


def guided(
    prompt: TokenLogits, other: TokenLogits, scale: float
) -> TokenLogits:
    """[V] log p(other) + scale (log p(prompt) - log p(other)), section 2.2.

    Args:
        prompt: [V] logits behind the prompt.
        other: [V] those behind the prompt that is left behind.
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
    prompt: TokenIds,
    other: TokenIds,
    *,
    scale: float,
    most: int,
    ends: Sequence[int] = (),
) -> list[int]:
    """Greedy decoding of `guided` logits; both prompts are followed by the same reply.

    Args:
        model: a causal language model.
        prompt: [1, T] token ids.
        other: [1, U] token ids.
        scale: see `guided`.
        most: new tokens at most.
        ends: token ids that end the reply.

    Returns:
        The new token ids, with the end where there is one.

    Raises:
        ValueError: logits that are no numbers.
    """
    said: list[int] = []
    contexts = [prompt, other]
    caches = [None, None]
    while len(said) < most:
        logits = []
        for side, context in enumerate(contexts):
            with torch.no_grad():
                read = model(
                    input_ids=context,
                    past_key_values=caches[side],
                    use_cache=True,
                )
            caches[side] = read.past_key_values
            logits.append(read.logits[0, -1].float())
        wanted, left = logits
        scores = guided(wanted, left, scale)
        if scores.isnan().any():
            raise ValueError("logits that are no numbers")
        token = int(scores.argmax())
        said.append(token)
        if token in ends:
            break
        contexts = [torch.tensor([[token]], device=prompt.device)] * 2
    return said
