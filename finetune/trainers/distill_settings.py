"""What `finetune distill` is told, and what of it does not go together: settings alone, without
torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetune.trainers.on_policy_settings import OnPolicy
from synth.core import registry
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.trainers.loss_terms import Term

# Settings of the student's own texts, which do nothing where there are none.
_OF_TEXTS = {
    "--schedule": "schedule",
    "--replay": "replay",
    "--correct": "correct",
}


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """What `finetune distill` is told besides a training's own settings.

    Attributes:
        teachers: folders or hub names of open models with the student's tokenizer.
        offline: a folder of `finetune teach`, instead of teachers.
        losses: of finetune.losses, NAME[=WEIGHT][:key=value,...] each; see `loss_terms.Term`.
        likelihood: weight of the cross-entropy to the rows' own tokens.
        strength: weight of all losses.
        on_policy: the student's own texts in training; see `_on_policy.OnPolicy`.
        weights: of several teachers.
        weigh: `fixed`; `agreement`: each teacher weighs, row by row, as much as it believes the
            row; `reinforced`: drawn by a policy that learns which of them help the student.
        teacher_smoothing: label smoothing (0 to 1) that the teacher was trained with, if any: it is
            warned of where it does harm.
        teacher_dtype: of the teachers' weights, such as bfloat16.
        teacher_device: where they live; None for the student's.
    """

    teachers: tuple[str, ...] = ()
    offline: str | None = None
    losses: tuple[str, ...] = ("forward_kl",)
    likelihood: float = 0.0
    strength: float = 1.0
    on_policy: OnPolicy = field(default_factory=OnPolicy)
    weights: tuple[float, ...] = ()
    weigh: str = "fixed"
    teacher_smoothing: float = 0.0
    teacher_dtype: str | None = None
    teacher_device: str | None = None


def check_offline(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """Refuses what a teacher cannot do of whom the likeliest tokens of the rows are known, and
    nothing else.
    """
    own = distill.on_policy
    if own.writes or own.corrupt:
        todo = "Give a --teacher that can be asked about new texts."
        raise WrongUse(
            "--offline",
            f"--on-policy {own.share}, --corrupt {own.corrupt}",
            "the rows that were taught",
            todo,
        )
    for term in terms:
        _check_parts(term)


def _check_parts(term: Term) -> None:
    where = f"--offline with --loss {term.name}"
    if not getattr(term.loss, "parts", False):
        able = ", ".join(
            name
            for name in registry.built_in("finetune.losses")
            if _learns_from_parts(name)
        )
        todo = (
            f"Take one of {able}, whose tail stands for all other tokens; or give a --teacher "
            "in the place of --offline."
        )
        raise WrongUse(
            where,
            "a loss of all that a teacher says",
            "one of its likeliest tokens and of the rest",
            todo,
        )
    temperature = getattr(term.loss, "temperature", 1.0)
    if temperature != 1:
        todo = "Leave the temperature out, or give a --teacher."
        raise WrongUse(
            where,
            f"temperature={temperature:g}",
            "1, at which the words were written",
            todo,
        )


def _learns_from_parts(name: str) -> bool:
    return bool(
        getattr(registry.build("finetune.losses", name), "parts", False)
    )


def unused(distill: DistillConfig) -> Iterator[tuple[str, str, str]]:
    """(setting, beside what, what it needs) of each that would change nothing as the others
    stand.
    """
    own = distill.on_policy
    many = len(distill.teachers) > 1
    if own.adapts != (own.hold_out > 0):
        yield (
            f"--hold-out {own.hold_out:g}",
            f"--schedule {own.schedule}",
            "a share of the rows and --schedule adaptive",
        )
    if own.validate_every and not own.adapts:
        yield (
            f"--validate-every {own.validate_every}",
            f"--schedule {own.schedule}",
            "--schedule adaptive",
        )
    if not own.writes:
        for flag, name in _OF_TEXTS.items():
            if getattr(own, name) != getattr(OnPolicy(), name):
                yield (
                    f"{flag} {getattr(own, name)}",
                    "no --on-policy",
                    "a share of steps on the student's own texts",
                )
    if distill.weights and not many:
        yield (
            "--teacher-weights",
            f"{len(distill.teachers)} --teacher",
            "several teachers",
        )
    if distill.weigh != "fixed" and not many:
        yield (
            f"--weigh {distill.weigh}",
            f"{len(distill.teachers)} --teacher",
            "several teachers",
        )
    for flag, value in (
        ("dtype", distill.teacher_dtype),
        ("device", distill.teacher_device),
    ):
        if value and distill.offline:
            yield (
                f"--teacher-{flag} {value}",
                "--offline",
                "a model as teacher, by --teacher",
            )
