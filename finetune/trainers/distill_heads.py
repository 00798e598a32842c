"""One encoder learns several tasks at once, each from a teacher of its own and from its labels
(N-LTP, arXiv:2009.11616).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetune.core.rows import JsonObject, without
from finetune.core.tensors import Inputs, Logits, Scalar
from finetune.kernels.features import Features
from finetune.students.several_heads import HeadTask
from finetune.trainers.arcs import compared, labelled, scored
from finetune.trainers.distill_encoder import (
    EncoderDistillTrainer,
    Taught,
    encoded,
    label_loss,
)
from finetune.trainers.task_batches import TaskBatches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The number of a batch's head, in each of its rows.
HEAD = "head"


@dataclass(frozen=True)
class TaughtHead:
    """One task of several.

    Attributes:
        rows: as a collator takes them, each with its `HEAD`.
        teacher: that knows this task alone; None for labels alone.
        name: of the head, under which its losses are logged.
        task: classify, tokens or arcs.
    """

    rows: Sequence[JsonObject]
    teacher: PreTrainedModel | None
    name: str
    task: HeadTask


class HeadsTrainer(EncoderDistillTrainer):
    """Minimises, batch by batch, the loss of an `EncoderDistillTrainer` for the head of the batch's
    task; a head without a teacher learns from its labels, which weigh 1.

    Args:
        heads: by the numbers of the student's heads.
        options: of an `EncoderDistillTrainer`; its losses are of logits.
    """

    def __init__(self, *, heads: Sequence[TaughtHead], **options: Any) -> None:
        args = options["args"]
        if args.world_size > 1:
            # Heads of other tasks have no gradient in a step.
            args.ddp_find_unused_parameters = True
        rows = [row for head in heads for row in head.rows]
        taught = [head.teacher for head in heads if head.teacher is not None]
        teacher = taught[0] if taught else options["model"]
        super().__init__(train_dataset=rows, teacher=teacher, **options)
        self.learnt = heads

    def _get_train_sampler(
        self,
        train_dataset: object = None,  # noqa: ARG002
    ) -> TaskBatches:
        return TaskBatches.of(
            [len(head.rows) for head in self.learnt], self.args
        )

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The loss of one batch."""
        head = self.learnt[int(inputs[HEAD][0])]
        if head.teacher is not None:
            self.teacher = head.teacher
        if head.task == "arcs":
            return self._of_arcs(model, inputs, head)
        if head.teacher is not None:
            return super().compute_loss(
                model, inputs, return_outputs, num_items_in_batch
            )
        read = {
            name: value
            for name, value in inputs.items()
            if name not in ("labels", "counted")
        }
        body = self.accelerator.unwrap_model(model)
        logits, _ = encoded(model, read, self.beside.student, body)
        labels = inputs["labels"].reshape(logits.shape[:2])
        value = label_loss(logits, labels)
        self._note(f"{head.name}_cross_entropy", value)
        return (value, {"logits": logits}) if return_outputs else value

    def _of_arcs(
        self, model: PreTrainedModel, inputs: Inputs, head: TaughtHead
    ) -> Scalar:
        """The loss of a batch of trees, the sum of that of heads and that of relations. A word's
        relation is that to the head of its label, else to the one that the teacher finds.
        """
        labels = inputs["labels"]
        device = labels.device
        if head.teacher is None:
            ours = scored(model, inputs, device, labels)
            values = [label_loss(*part) for part in labelled(ours, inputs)]
            value = torch.stack(values).sum()
            self._note(f"{head.name}_cross_entropy", value)
            return value
        with torch.no_grad():
            plain = without(inputs, (HEAD,))
            there = head.teacher.device
            theirs = scored(head.teacher, plain, there, labels)
        ours = scored(model, inputs, device, theirs.given)
        parts = compared(ours, theirs, inputs)
        tokens = inputs["attention_mask"].bool()
        return self.summed(parts, (Features(), Features()), tokens)

    def taught(
        self, inputs: Inputs, read: Inputs, logits: Logits, ours: Features
    ) -> Taught:
        """What the head's own teacher says, which has no other heads."""
        plain = {name: value for name, value in read.items() if name != HEAD}
        return super().taught(inputs, plain, logits, ours)


class HeadsCollator:
    """Pads rows of one head, and says which it is.

    Args:
        collators: of each head's task, by its number.
    """

    def __init__(self, collators: Sequence[Any]) -> None:
        self.collators = collators

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        """A batch."""
        number = rows[0][HEAD]
        plain = [without(row, (HEAD,)) for row in rows]
        batch: dict[str, Tensor] = dict(self.collators[number](plain))
        batch[HEAD] = torch.full((len(rows),), number)
        return batch
