"""Encoders of all sizes learn together what relates a teacher's queries, keys and values."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Trainer

from finetune.core.tensors import Inputs, Scalar
from finetune.kernels.features import shown_relations
from finetune.losses.minilm import Minilm
from finetune.students.supernet import Sizes, Supernet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def apart(
    net: Supernet,
    sizes: Sizes,
    teacher: PreTrainedModel,
    inputs: Inputs,
    loss: Minilm,
) -> Scalar:
    """The loss between the last layers of the encoder of such sizes and the teacher, in nats."""
    last = teacher.config.num_hidden_layers
    with torch.no_grad(), shown_relations(teacher, [last]) as theirs:
        teacher(**inputs)
    form = net.form(sizes)
    with shown_relations(form, [sizes.layers]) as ours:
        net.run(sizes, inputs)
    mask = inputs["attention_mask"]
    return loss(ours[sizes.layers], theirs[last], mask)


class SupernetTrainer(Trainer):  # type: ignore[misc]
    """Minimises `apart` of one encoder a step, drawn evenly from all; which one follows from the
    seed and the number of the step.

    Args:
        net: all encoders.
        teacher: frozen.
        loss: of relations.
        options: of transformers' Trainer; its model is the largest encoder.
    """

    def __init__(
        self,
        *,
        net: Supernet,
        teacher: PreTrainedModel,
        loss: Minilm,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False
        self.net = net
        self.teacher = teacher
        self.apart = loss
        self.choices = net.space.all()

    def drawn(self) -> Sizes:
        """The encoder of this step."""
        named = f"{self.args.seed}/{self.state.global_step}"
        return random.Random(named).choice(self.choices)

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Any]:
        """The loss of one batch."""
        self.net.model = model
        value = apart(self.net, self.drawn(), self.teacher, inputs, self.apart)
        return (value, {}) if return_outputs else value
