"""What a trainer notes of each loss beside their sum."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import torch

from finetune.core.tensors import Scalar

if TYPE_CHECKING:
    from transformers import Trainer


class Notes:
    """Values by name, summed over the batches of each step.

    A value of a batch is its part of the step's: the sum over all batches and processes is what is
    logged, a mean over the steps in which it was noted.
    """

    def __init__(self) -> None:
        self._sums: defaultdict[str, Scalar | float] = defaultdict(float)
        self._steps: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, name: str, value: Scalar | float, step: int) -> None:
        """Adds a batch's part of a value; nothing waits for a GPU here."""
        self._sums[name] = self._sums[name] + value
        self._steps[name].add(step)

    def taken(self, trainer: Trainer) -> dict[str, float]:
        """The means since the last time, over all processes of a trainer."""
        shared = trainer.args.average_tokens_across_devices
        means = {}
        for name, value in self._sums.items():
            own = torch.as_tensor(
                value, dtype=torch.float32, device=trainer.args.device
            )
            every = trainer.accelerator.reduce(own, "sum" if shared else "mean")
            means[name] = float(every) / len(self._steps[name])
        self._sums.clear()
        self._steps.clear()
        return means
