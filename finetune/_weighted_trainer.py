"""TRL's SFTTrainer for rows with `weight` and `task`: items stay together in a batch, and the loss is that of `weighting`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import SFTTrainer

from finetune.weighting import bundles, weighted_loss


class _Collator:
    """Flattens bundles of rows, pads them as TRL does, and adds weights and task numbers."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [row for example in examples for row in example["rows"]]
        batch = dict(self.inner([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]))
        batch["weights"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        batch["tasks"] = torch.tensor([row["task_number"] for row in rows])
        return batch


class WeightedTrainer(SFTTrainer):  # type: ignore[misc]
    """An item of the training set is a bundle: one row of each of its tasks. `per_device_train_batch_size` counts bundles.

    Args:
        weights: of each row, in the order of the training set.
        task_numbers: of each row.
        ids: of each row; rows of one id and different tasks are a bundle.
        coefficients: of each task.
        margin: see `weighted_loss`.
    """

    train_dataset: Any
    data_collator: Any

    def __init__(
        self,
        *,
        weights: Sequence[float],
        task_numbers: Sequence[int],
        ids: Sequence[str],
        coefficients: Sequence[float],
        margin: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._coefficients, self._margin = list(coefficients), margin
        rows = [
            {"input_ids": row["input_ids"], "labels": row["labels"], "weight": float(weight), "task_number": number}
            for row, weight, number in zip(self.train_dataset, weights, task_numbers, strict=True)
        ]
        self.train_dataset = Dataset.from_list([{"rows": [rows[n] for n in places]} for places in bundles(ids, task_numbers)])
        self.data_collator = _Collator(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["rows"]

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of a batch; over accumulated batches, their mean."""
        weights, tasks = inputs.pop("weights"), inputs.pop("tasks")
        outputs = model(**{**inputs, "use_cache": False}, fused_lm_head=True)
        counts = outputs.label_mask.sum(dim=-1).clamp(min=1)
        row_losses = -outputs.log_probs.sum(dim=-1) / counts
        loss = weighted_loss(row_losses, weights, tasks, self._coefficients, self._margin)
        if num_items_in_batch is not None:
            # The Trainer leaves accumulation to losses that are told how many tokens a step has.
            loss = loss / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss
