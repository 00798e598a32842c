"""An optimizer that goes on from one training to the next, as if they were one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from finetune.data.going_on import FILE, GoingOn
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import Trainer

_STEPS = "steps"


def go_on(trainer: Trainer, plan: GoingOn) -> None:
    """Has a trainer begin with the state that another training left, and with the learning rate of
    its place among all steps.

    Args:
        trainer: before it makes its optimizer.
        plan: what the user says.

    Raises:
        WrongUse: once it trains: an optimizer of another kind or of other weights, a schedule that
            follows no steps, or more steps than there are in all.
    """
    if plan == GoingOn():
        return
    untyped = cast("Any", trainer)
    make = untyped.create_optimizer
    schedule = untyped.create_scheduler
    taken = 0 if plan.source is None else steps_of(plan.source)

    def created(*args: Any, **more: Any) -> Any:
        is_new = untyped.optimizer is None
        made = make(*args, **more)
        if is_new and plan.source is not None:
            _load(made, untyped.model, plan.source)
        return made

    def scheduled(num_training_steps: int, **more: Any) -> Any:
        most = plan.steps or taken + num_training_steps
        if taken + num_training_steps > most:
            raise WrongUse(
                f"--steps-in-all {most}",
                f"{num_training_steps} steps behind {taken}",
                f"at least {taken + num_training_steps}",
                "Raise it, or train fewer.",
            )
        made = schedule(num_training_steps=most, **more)
        _advance(made, taken)
        return made

    untyped.create_optimizer = created
    untyped.create_scheduler = scheduled


def keep(trainer: Trainer, folder: Path, plan: GoingOn) -> None:
    """Writes what the optimizer has come to beside the student.

    Args:
        trainer: that has trained.
        folder: of the student.
        plan: what the user says; without `keep` nothing is written, and what stands there goes.
    """
    path = folder / FILE
    if not plan.keep:
        path.unlink(missing_ok=True)
        return
    from safetensors.torch import save_file  # noqa: PLC0415

    untyped = cast("Any", trainer)
    taken = 0 if plan.source is None else steps_of(plan.source)
    steps = taken + untyped.state.global_step
    tensors = dict(_state(untyped.optimizer.optimizer, untyped.model))
    save_file(tensors, str(path), {_STEPS: json.dumps(steps)})


def steps_of(folder: str) -> int:
    """Steps that an optimizer had taken when it was kept."""
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(str(Path(folder) / FILE), "pt") as kept:
        return int(json.loads(kept.metadata()[_STEPS]))


def _state(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module
) -> Iterator[tuple[str, Tensor]]:
    """`NAME OF A WEIGHT/NAME OF A STATE` -> its numbers.

    Raises:
        WrongUse: a state that is no tensor.
    """
    import torch  # noqa: PLC0415

    for name, weight in model.named_parameters():
        for key, value in optimizer.state.get(weight, {}).items():
            if not isinstance(value, torch.Tensor):
                raise WrongUse(
                    "--keep-optimizer",
                    f"{type(optimizer).__name__}, whose {key} is no tensor",
                    "an optimizer such as AdamW",
                    "Take another --optim.",
                )
            yield f"{name}/{key}", value.detach().cpu().contiguous()


def _load(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, folder: str
) -> None:
    """Gives an optimizer what another one had come to; its own settings stay.

    Raises:
        WrongUse: that one had other weights.
    """
    from safetensors.torch import load_file  # noqa: PLC0415

    kept: dict[str, dict[str, Tensor]] = {}
    for name, value in load_file(str(Path(folder) / FILE)).items():
        weight, _, key = name.rpartition("/")
        kept.setdefault(weight, {})[key] = value
    names = {weight: name for name, weight in model.named_parameters()}
    own = optimizer.state_dict()
    state: dict[int, Mapping[str, Tensor]] = {}
    number = 0
    for group in optimizer.param_groups:
        for weight in group["params"]:
            name = names.get(weight, "")
            found = kept.pop(name, {})
            if not _fits(found, weight):
                raise _other(folder, name)
            state[number] = found
            number += 1
    if kept:
        raise _other(folder, next(iter(kept)))
    optimizer.load_state_dict({**own, "state": state})


def _fits(found: Mapping[str, Tensor], weight: Tensor) -> bool:
    """Whether a weight's state has its shape, but for single numbers such as counts of steps."""
    shapes = [tuple(value.shape) for value in found.values()]
    return bool(shapes) and all(
        shape in ((), tuple(weight.shape)) for shape in shapes
    )


def _other(folder: str, name: str) -> WrongUse:
    return WrongUse(
        f"--optimizer-of {folder}",
        f"no state of {name or 'a weight'} of this shape, or one too many",
        "the optimizer of the same weights",
        "Give the folder of the student that --model names.",
    )


def _advance(scheduler: Any, taken: int) -> None:
    """Puts a schedule that many steps forward.

    Raises:
        WrongUse: one that follows no steps.
    """
    if not taken:
        return
    factors: list[Callable[[int], float]] = getattr(scheduler, "lr_lambdas", [])
    if not factors:
        raise WrongUse(
            "--lr-scheduler-type",
            type(scheduler).__name__,
            "a schedule by steps, such as linear, cosine or constant",
            "Take another one, or leave --optimizer-of out.",
        )
    scheduler.lr_lambdas = [_later(factor, taken) for factor in factors]
    for group, base, factor in zip(
        scheduler.optimizer.param_groups,
        scheduler.base_lrs,
        scheduler.lr_lambdas,
        strict=True,
    ):
        group["lr"] = base * factor(0)
    scheduler._last_lr = [  # noqa: SLF001 - what it says before its first step
        group["lr"] for group in scheduler.optimizer.param_groups
    ]


def _later(
    factor: Callable[[int], float], taken: int
) -> Callable[[int], float]:
    return lambda step: factor(step + taken)
