"""Trainings that end where a loss or a weight is no finite number: no such student is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from finetune.core import sharding as shards
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import Trainer

# Nothing was learnt yet: no learning rate is to blame.
_BROKEN = (
    "The model is broken as it is, or overflows in its number type: take another copy of it, or "
    "open it in another type (--dtype float32). Nothing was trained."
)
_BEFORE = (
    "No step was made before it: look at the first rows, at the teacher where there is one, and "
    "at the number type (--dtype float32 overflows last). Nothing was saved."
)
# A number of a batch that a loss is multiplied by, or told from, and that is beyond this may be why
# the loss is none.
_LARGE = 1e4
_ROWS = "Look at the rows first: numbers so large may be to blame, where the learning rate is not. "
_TODO = (
    "Lower --learning-rate or --max-grad-norm, warm up (--warmup-steps), or train in float32 "
    "(--dtype float32). Nothing was saved."
)


def watch_losses(trainer: Trainer, sharding: str | None = None) -> None:
    """Ends a training at the first loss that is no finite number, which its own log would hide, and
    before the first step where the model's weights are none.

    Float16 is left alone: its scaler skips such steps. What stays of them is in the weights.

    Args:
        trainer: whose steps are watched.
        sharding: how its weights are shared among processes.
    """
    untyped = cast("Any", trainer)
    step = untyped.training_step
    begun = False

    def watched(*args: Any, **more: Any) -> Tensor:
        nonlocal begun
        if not begun:
            begun = True
            check_model(held(trainer, sharding))
        loss: Tensor = step(*args, **more)
        if untyped.accelerator.scaler is None:
            count = trainer.state.global_step + 1
            check_loss(float(loss), count, args[1] if args[1:] else None)
        return loss

    untyped.training_step = watched


def check_loss(loss: float, step: int, batch: object = None) -> None:
    """Refuses to go on from a loss that is no finite number.

    Args:
        loss: of a step.
        step: its number, from 1 on; the loss was measured before it.
        batch: what the loss was told from: tensors by names, some of which are columns of rows.

    Raises:
        WrongUse: nan or an infinite loss.
    """
    if math.isfinite(loss):
        return
    todo = _TODO if step > 1 else _BEFORE
    large = ", ".join(_large(batch))
    raise WrongUse(
        f"step {step} of the training",
        f"a loss of {loss}" + (f", with {large} in the batch" if large else ""),
        "a finite loss",
        f"{_ROWS}{todo}" if large else todo,
    )


def _large(batch: object) -> Iterator[str]:
    """Name and size of the numbers of a batch that are large, nan or infinite."""
    columns = batch if isinstance(batch, Mapping) else {}
    for name, column in columns.items():
        if not hasattr(column, "is_floating_point") or not column.numel():
            continue
        if not column.is_floating_point():
            continue
        most = float(column.detach().abs().max())
        if not most <= _LARGE:
            yield f"{name} as far as {most:g}"


def held(trainer: Trainer, sharding: str | None) -> list[tuple[str, Tensor]]:
    """Name -> what this process holds of each weight of a trainer."""
    return [
        (name, shards.here(weight, sharding))
        for name, weight in learners(trainer)
    ]


def check_model(weights: Iterable[tuple[str, Tensor]]) -> None:
    """Refuses to train a model whose weights are no finite numbers to begin with.

    Args:
        weights: by their names, or what this process holds of each.

    Raises:
        WrongUse: nan or an infinite number among them.
    """
    _check(weights, "the model before the first step", "", _BROKEN)


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
    where = f"step {step} of the training"
    _check(weights, where, f"a mean loss of {loss:g}, and ", _TODO)


def _check(
    weights: Iterable[tuple[str, Tensor]], where: str, told: str, todo: str
) -> None:
    """Raises WrongUse at the first weight that holds nan or an infinite number."""
    for name, weight in weights:
        if weight.is_floating_point() and not weight.isfinite().all():
            raise WrongUse(
                where,
                f"{told}weights of {name} that are no finite numbers",
                "finite weights",
                todo,
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
