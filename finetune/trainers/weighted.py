"""Trainers for rows with `weight` and `task`: items stay together in a batch, and the loss is that
of an objective.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from torch import Tensor
from transformers import Seq2SeqTrainer
from trl import SFTTrainer

from finetune.core.rows import JsonObject, RowFacts
from finetune.core.tensors import LabelLogProbs, Mask, Scalar
from finetune.data.tokens import IGNORED
from finetune.objectives.objectives import Batch, Objective
from finetune.objectives.weighting import bundles, wholes
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel


# Rows -> a padded batch.
Collator = Callable[[list[JsonObject]], Mapping[str, Tensor]]


class _Collator:
    """Flattens bundles of rows, pads them as TRL does, and adds weights and task numbers."""

    def __init__(self, inner: Collator) -> None:
        self.inner = inner

    def __call__(self, examples: list[JsonObject]) -> JsonObject:
        rows = [row for example in examples for row in example["rows"]]
        items = [
            number
            for number, example in enumerate(examples)
            for _ in example["rows"]
        ]
        batch = dict(
            self.inner(
                [
                    {"input_ids": row["input_ids"], "labels": row["labels"]}
                    for row in rows
                ]
            )
        )
        batch["weights"] = torch.tensor(
            [row["weight"] for row in rows], dtype=torch.float32
        )
        batch["tasks"] = torch.tensor([row["task_number"] for row in rows])
        batch["items"] = torch.tensor(items)
        return batch


def bundled(rows: Iterable[Row], given: RowFacts, *, whole: bool) -> Dataset:
    """A dataset of bundles: {"rows": [{input_ids, labels, weight, task_number}, ...]}.

    Args:
        rows: with `input_ids` and `labels`, one for each weight.
        given: `weights`, `task_numbers` and `ids` of the rows.
        whole: all rows of an item are a bundle; else one of each of its tasks.
    """
    columns = (given["weights"], given["task_numbers"])
    made = [
        {
            "input_ids": row["input_ids"],
            "labels": row["labels"],
            "weight": float(weight),
            "task_number": number,
        }
        for row, weight, number in zip(rows, *columns, strict=True)
    ]
    positions = (
        wholes(given["ids"])
        if whole
        else bundles(given["ids"], given["task_numbers"])
    )
    return Dataset.from_list(
        [{"rows": list(map(made.__getitem__, bundle))} for bundle in positions]
    )


class _Weighing:
    """The part that trainers of both kinds of student share: bundles in, the objective's loss
    out.
    """

    _objective: Objective
    current_gradient_accumulation_steps: int

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["rows"]

    def _scored(
        self, model: PreTrainedModel, inputs: dict[str, Tensor]
    ) -> tuple[object, LabelLogProbs, Mask]:
        """(outputs, log-probabilities [N, L] of the labels, which of them count)."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Scalar | tuple[Scalar, object]:
        """The objective's loss of a batch; over accumulated batches, their mean."""
        facts = {
            name: inputs.pop(name) for name in ("weights", "tasks", "items")
        }
        outputs, log_probs, mask = self._scored(model, inputs)
        loss = self._objective(Batch(log_probs=log_probs, mask=mask, **facts))
        if num_items_in_batch is not None:
            # The Trainer leaves accumulation to losses that are told how many tokens a step has.
            loss = loss / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss


class WeightedTrainer(_Weighing, SFTTrainer):  # type: ignore[misc]
    """An item of the training set is a bundle of rows. `per_device_train_batch_size` counts
    bundles.

    Args:
        given: `weights`, `task_numbers` and `ids` of the rows, in the order of the training set.
        objective: what is minimised.
        held: the same facts of rows held out; None for none.
    """

    eval_dataset: Dataset | None
    train_dataset: Dataset
    data_collator: Collator

    def __init__(
        self,
        *,
        given: RowFacts,
        objective: Objective,
        held: RowFacts | None = None,
        **options: object,
    ) -> None:
        super().__init__(**options)
        self._objective = objective
        self.train_dataset = bundled(
            self.train_dataset, given, whole=objective.whole
        )
        if held is not None and self.eval_dataset is not None:
            self.eval_dataset = bundled(
                self.eval_dataset, held, whole=objective.whole
            )
        self.data_collator = _Collator(self.data_collator)

    def _scored(
        self, model: PreTrainedModel, inputs: dict[str, Tensor]
    ) -> tuple[object, LabelLogProbs, Mask]:
        outputs = model(**{**inputs, "use_cache": False}, fused_lm_head=True)
        return outputs, outputs.log_probs, outputs.label_mask


class WeightedSeq2SeqTrainer(_Weighing, Seq2SeqTrainer):  # type: ignore[misc]
    """The same for an encoder-decoder; its training set comes with `input_ids` of the prompt and
    `labels` of the completion.
    """

    def __init__(
        self,
        *,
        given: RowFacts,
        objective: Objective,
        train_dataset: Dataset,
        data_collator: Collator,
        held: RowFacts | None = None,
        eval_dataset: Sequence[Row] | None = None,
        **options: object,
    ) -> None:
        whole = objective.whole
        if held is not None and eval_dataset is not None:
            options["eval_dataset"] = bundled(eval_dataset, held, whole=whole)
        bundles_of_rows = bundled(train_dataset, given, whole=whole)
        super().__init__(
            train_dataset=bundles_of_rows,
            data_collator=_Collator(data_collator),
            **options,
        )
        self._objective = objective

    def _scored(
        self, model: PreTrainedModel, inputs: dict[str, Tensor]
    ) -> tuple[object, LabelLogProbs, Mask]:
        outputs = model(**inputs)
        labels = inputs["labels"]
        mask = labels != IGNORED
        logs = (
            outputs.logits.float()
            .log_softmax(dim=-1)
            .gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]
        )
        return outputs, logs.masked_fill(~mask, 0.0), mask
