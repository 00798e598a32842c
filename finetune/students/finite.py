"""Trainings that end where a loss or a weight is no finite number: no such student is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import Trainer

_TODO = (
    "Lower --learning-rate or --max-grad-norm, warm up (--warmup-steps), or train in float32 "
    "(--dtype float32). Nothing was saved."
)


def watch_losses(trainer: Trainer) -> None:
    """Ends a training at the first loss that is no finite number, which its own log would hide.

    Float16 is left alone: its scaler skips such steps. What stays of them is in the weights.

    Args:
        trainer: whose steps are watched.
    """
    untyped = cast("Any", trainer)
    step = untyped.training_step

    def watched(*args: Any, **more: Any) -> Tensor:
        loss: Tensor = step(*args, **more)
        if untyped.accelerator.scaler is None:
            check_loss(float(loss), trainer.state.global_step + 1)
        return loss

    untyped.training_step = watched


def check_loss(loss: float, step: int) -> None:
    """Refuses to go on from a loss that is no finite number.

    Args:
        loss: of a step.
        step: its number, from 1 on.

    Raises:
        WrongUse: nan or an infinite loss.
    """
    if not math.isfinite(loss):
        raise WrongUse(
            f"step {step} of the training",
            f"a loss of {loss}",
            "a finite loss",
            _TODO,
        )


def check_weights(
    weights: Iterable[tuple[str, Tensor]], step: int, loss: float
) -> None:
    """Refuses to keep weights that are no finite numbers.

    Args:
        weights: by their names, or what this process holds of each.
        step: after which they are these.
        loss: of the training, the mean over its steps.

    Raises:
        WrongUse: nan or an infinite number among them.
    """
    for name, weight in weights:
        if not weight.is_floating_point() or weight.isfinite().all():
            continue
        raise WrongUse(
            f"step {step} of the training",
            f"a mean loss of {loss:g}, and weights of {name} that are no finite numbers",
            "finite weights",
            _TODO,
        )


def learners(trainer: Trainer) -> list[tuple[str, nn.Parameter]]:
    """All weights of a trainer: those of its model, and of a loss that learns beside it."""
    untyped = cast("Any", trainer)
    found = list(untyped.model.named_parameters())
    beside: Any = getattr(untyped, "loss", None)
    losses = beside.values() if isinstance(beside, dict) else [beside]
    for loss in losses:
        if hasattr(loss, "named_parameters"):
            found += loss.named_parameters()
    return found
