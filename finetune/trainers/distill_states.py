"""An encoder learns a language model's state of each text, beside its own labels."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from finetune.core.list_tensors import Vectors
from finetune.core.tensors import HiddenStates, Inputs, Logits, Mask
from finetune.data.encoder_rows import TEACHER_IDS, TEACHER_MASK
from finetune.kernels.features import Features
from finetune.losses.base_features import pooled
from finetune.trainers.distill_encoder import (
    EncoderDistillTrainer,
    Taught,
)

# Where a language model's state of a text is read.
At = Literal["last", "mean"]


def state_of(states: HiddenStates, mask: Mask, at: At) -> Vectors:
    """[B, H] state of each text.

    Args:
        states: [B, T, H] of its tokens.
        mask: [B, T] which tokens are there, at least one a text, the first ones.
        at: `last`: that of the last token, which has read all others; `mean`: of all tokens.

    Example:
        >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> state_of(states, mask, "last").tolist(), state_of(states, mask, "mean").tolist()
        ([[3.0]], [[2.0]])
    """
    if at == "mean":
        return pooled(states, mask)
    texts = torch.arange(len(states), device=states.device)
    return states[texts, mask.sum(dim=1) - 1]


class StateTrainer(EncoderDistillTrainer):
    """Minimises strength x sum of weight x loss(state of a text, the teacher's) + likelihood x
    cross-entropy to the labels.

    The student's state of a text is that of its first token. The teacher has tokens of its own.

    Args:
        at: where the teacher's state is read.
        options: of an `EncoderDistillTrainer`; its teacher is a decoder, and its losses are of
            states.
    """

    def __init__(self, *, at: At, **options: Any) -> None:
        super().__init__(**options)
        self.at = at

    def taught(
        self,
        inputs: Inputs,
        read: Inputs,  # noqa: ARG002
        logits: Logits,
        ours: Features,
    ) -> Taught:
        """One state a text of both; the teacher says nothing of classes, for which the student's
        own logits stand.
        """
        device = self.teacher.device
        mask = inputs[TEACHER_MASK].to(device)
        with torch.no_grad():
            # Without the head: logits of a vocabulary would be the larger part of the work.
            output = self.teacher.base_model(
                input_ids=inputs[TEACHER_IDS].to(device),
                attention_mask=mask,
                output_hidden_states=True,
            )
        theirs = tuple(
            state_of(states, mask.bool(), self.at)[:, None]
            for states in output.hidden_states
        )
        firsts = tuple(states[:, :1] for states in ours.states)
        there: Tensor = torch.ones(
            len(logits), 1, dtype=torch.bool, device=logits.device
        )
        return Taught(
            logits.detach(), Features(firsts), Features(theirs), there
        )
