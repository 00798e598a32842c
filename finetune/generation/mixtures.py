"""A student that writes together with its teacher: each token is drawn from a mixture of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor

from finetune.core.tensors import NextScores, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Mixture(LogitsProcessor):  # type: ignore[misc]
    """The logarithm of share x teacher + (1 - share) x student in the place of the student's
    logits (MiniLLM, arXiv:2306.08543, section 2.2: share 0.2). The teacher reads along, token by
    token, with a cache of its own.

    Args:
        teacher: of the student's tokenizer.
        share: of the teacher, 0 to 1.
        lengths: tokens of each prompt; in front of them the batch is filled up.
        size: of the tokenizer; no token beyond it is drawn.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        share: float,
        lengths: Sequence[int],
        size: int,
    ) -> None:
        self.teacher = teacher
        self.share = share
        self.lengths = torch.tensor(lengths)
        self.size = size
        self.cache: object = None
        self.read = 0

    def __call__(self, input_ids: TokenIds, scores: NextScores) -> NextScores:
        """[B, V] ln-probabilities of the mixture.

        Args:
            input_ids: [B, T] all tokens so far.
            scores: [B, V] of the student.
        """
        device = self.teacher.device
        prompt = int(self.lengths.max())
        places = torch.arange(input_ids.shape[1])
        mask = (places >= prompt - self.lengths[:, None]).long().to(device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.no_grad():
            output = self.teacher(
                input_ids=input_ids[:, self.read :].to(device),
                attention_mask=mask,
                position_ids=positions[:, self.read :],
                past_key_values=self.cache,
                use_cache=True,
            )
        self.cache = output.past_key_values
        self.read = input_ids.shape[1]
        theirs = output.logits[:, -1, : self.size].float().to(scores.device)
        drawn = torch.full_like(scores, -torch.inf, dtype=torch.float32)
        drawn[:, : self.size] = mixed(
            scores[:, : self.size].float().log_softmax(dim=-1),
            theirs.log_softmax(dim=-1),
            self.share,
        )
        return drawn


def mixed(student: NextScores, teacher: NextScores, share: float) -> NextScores:
    """The logarithm of a mixture, from logarithms of probabilities of any shape.

    >>> one, two = torch.tensor([0.5]).log(), torch.tensor([0.1]).log()
    >>> round(float(mixed(one, two, 0.25).exp()), 4)
    0.4
    """
    if not share:
        return student
    weights = torch.tensor([1 - share, share], device=student.device).log()
    return torch.logaddexp(student + weights[0], teacher + weights[1])
