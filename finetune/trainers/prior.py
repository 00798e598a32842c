"""Trainings in which a lexical prior stands beside a loss at first (arXiv:2012.14583)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import Trainer

from finetune.core.tensors import Scalar
from finetune.objectives.lexical_prior import Prior
from finetune.trainers.notes import Notes


class PriorTrainer(Trainer):  # type: ignore[misc]
    """Minimises (1 - w) x a loss + w x a divergence from a prior, w falling evenly from `weight` to
    0 at the share `until` of the steps.

    Args:
        prior: None for the loss alone.
        weight: 0 to 1.
        until: above 0 and up to 1.
        options: of transformers' Trainer.
    """

    def __init__(
        self,
        *,
        prior: Prior | None,
        weight: float,
        until: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False
        self.prior = None if prior is None else prior.to(self.args.device)
        self.weight = weight
        self.until = until
        self.notes = Notes()

    def with_prior(
        self, loss: Scalar, divergence: Callable[[Prior], Scalar]
    ) -> Scalar:
        """The loss with the prior beside it, by its weight at this step."""
        done = self.state.global_step / max(1, self.state.max_steps)
        weight = self.weight * max(0.0, 1 - done / self.until)
        if self.prior is None or not weight:
            return loss
        apart = divergence(self.prior)
        self.note("prior_kl", apart)
        total: Scalar = (1 - weight) * loss + weight * apart
        return total

    def note(self, name: str, value: Scalar) -> None:
        """Logs a batch's part of a loss by its name."""
        steps = self.current_gradient_accumulation_steps
        share = value.detach() / (steps * self.accelerator.num_processes)
        self.notes.add(name, share, self.state.global_step)

    def log(
        self, logs: dict[str, float], start_time: float | None = None
    ) -> None:
        """All losses beside their sum."""
        super().log({**logs, **self.notes.taken(self)}, start_time)
