"""Experts of tasks learn together, each batch from rows of one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Trainer

from finetune.core.tensors import Inputs, Scalar
from finetune.students.task_experts import Route, balance, experts_of
from finetune.trainers.task_batches import TaskBatches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The number of a batch's task, in each of its rows.
TASK = "task_number"


class ExpertsTrainer(Trainer):  # type: ignore[misc]
    """Minimises cross-entropy + balance x the mean over layers of `task_experts.balance`.

    Args:
        route: of the model.
        sizes: rows of each task, which stand one task behind the other.
        balance: weight of an even use of experts.
        options: of transformers' Trainer.
    """

    def __init__(
        self,
        *,
        route: Route,
        sizes: Sequence[int],
        balance: float,
        **options: Any,
    ) -> None:
        args = options["args"]
        if args.world_size > 1:
            # Experts of other tasks have no gradient in a step.
            args.ddp_find_unused_parameters = True
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False
        self.route = route
        self.sizes = sizes
        self.balance = balance

    def _get_train_sampler(
        self,
        train_dataset: object = None,  # noqa: ARG002
    ) -> TaskBatches:
        return TaskBatches.of(self.sizes, self.args)

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Any]:
        """The loss of one batch."""
        self.route.task = int(inputs[TASK][0])
        read = {name: one for name, one in inputs.items() if name != TASK}
        output = model(**read)
        layers = experts_of(self.accelerator.unwrap_model(model))
        uses = [balance(layer.gates, layer.chosen) for layer in layers]
        total = output.loss + self.balance * torch.stack(uses).mean()
        return (total, output) if return_outputs else total
