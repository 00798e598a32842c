"""What `finetune distill` is told, and what of it does not go together: settings alone, without
torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from finetune.data.teacher_prompts import TeacherPrompt
from finetune.teachers.opened_settings import Opening
from finetune.teachers.served_settings import Servers
from finetune.trainers.on_policy_settings import OnPolicy
from synth.core.errors import WrongUse

# Settings of the student's own texts, which do nothing where there are none.
_OF_TEXTS = {
    "--schedule": "schedule",
    "--replay": "replay",
    "--correct": "correct",
    "--completions": "completions",
    "--top-p": "top_p",
    "--min-p": "min_p",
}


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """What `finetune distill` is told besides a training's own settings.

    Attributes:
        teachers: folders or hub names of open models with the student's tokenizer; or the student
            itself, as `self_teacher` reads it.
        offline: a folder of `finetune teach`, instead of teachers.
        servers: teachers behind servers, instead of both.
        prompt: what teachers read in the place of the rows' prompts; None for the same.
        losses: of finetune.losses, NAME[=WEIGHT][:key=value,...] each; see `loss_terms.Term`.
        likelihood: weight of the cross-entropy to the rows' own tokens.
        likelihood_to: of encoders, that weight at the end, to which it moves with the steps; None
            for one that stays.
        strength: weight of all losses.
        on_policy: the student's own texts in training; see `OnPolicy`.
        weights: of several teachers.
        weigh: `fixed`; `agreement`: each teacher weighs, row by row, as much as it believes the
            row; `reinforced`: drawn by a policy that learns which of them help the student.
        teacher_smoothing: label smoothing (0 to 1) that the teacher was trained with, if any: it is
            warned of where it does harm.
        opening: how teachers in this process are opened.
    """

    teachers: tuple[str, ...] = ()
    offline: str | None = None
    servers: Servers | None = None
    prompt: TeacherPrompt | None = None
    losses: tuple[str, ...] = ("forward_kl",)
    likelihood: float = 0.0
    likelihood_to: float | None = None
    strength: float = 1.0
    on_policy: OnPolicy = field(default_factory=OnPolicy)
    weights: tuple[float, ...] = ()
    weigh: str = "fixed"
    teacher_smoothing: float = 0.0
    opening: Opening = field(default_factory=Opening)

    @property
    def source(self) -> str:
        """The setting that names a teacher of whom the likeliest tokens are known; "" where all of
        them are.
        """
        if self.servers is not None:
            return "--teacher-url"
        return "--offline" if self.offline else ""

    @property
    def learns_labels(self) -> bool:
        """Whether the rows' own labels count at any step."""
        return bool(self.likelihood or self.likelihood_to)

    @property
    def named(self) -> list[str]:
        """The teachers, as a record has them."""
        if self.servers is not None:
            return list(self.servers.urls)
        return list(self.teachers) or [self.offline or "none"]


# How the student teaches itself, by the names that TRL has for it.
_SELF = "self:"
_RATE = 0.05


class SelfTeacher(NamedTuple):
    """The student as teacher.

    Attributes:
        kind: `base` as it was at the beginning, `ema` the mean of what it was, `live` as it is.
        rate: of the mean that each step replaces, above 0 and below 1.
    """

    kind: str
    rate: float


def self_teacher(teachers: Sequence[str]) -> SelfTeacher | None:
    """What `--teacher self:base`, `self:ema`, `self:ema=RATE` or `self:live` says; None where a
    teacher is no such thing.

    >>> self_teacher(["self:ema=0.1"]), self_teacher(["runs/teacher"])
    (SelfTeacher(kind='ema', rate=0.1), None)

    Raises:
        WrongUse: no such kind or rate, or others beside it.
    """
    named = [name for name in teachers if name.startswith(_SELF)]
    if not named:
        return None
    kind, equals, rate = named[0].removeprefix(_SELF).partition("=")
    number = _RATE
    if equals:
        try:
            number = float(rate)
        except ValueError:
            number = 0.0
    sound = kind in {"base", "ema", "live"} and 0 < number < 1
    if not sound or (equals and kind != "ema") or len(teachers) > 1:
        raise WrongUse(
            "--teacher",
            ", ".join(teachers),
            "self:base, self:live, self:ema or self:ema=RATE, above 0 and below 1, alone",
            "Take one of them.",
        )
    return SelfTeacher(kind, number)


def unused(distill: DistillConfig) -> Iterator[tuple[str, str, str]]:
    """(setting, beside what, what it needs) of each that would change nothing as the others
    stand.
    """
    yield from _unused_of_texts(distill.on_policy)
    yield from _unused_of_several(distill)
    source = distill.source
    if not source and not distill.teachers:
        source = "no --teacher"
        if distill.prompt is not None:
            yield ("--teacher-prompt", source, "a teacher who reads it")
    itself = self_teacher(distill.teachers)
    if itself is not None and itself.kind != "base":
        source = f"--teacher {distill.teachers[0]}"
    for flag, value in distill.opening.given():
        if source:
            yield (
                f"{flag} {value}",
                source,
                "a model as teacher, by --teacher",
            )


def _unused_of_texts(own: OnPolicy) -> Iterator[tuple[str, str, str]]:
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
    if own.writes:
        return
    for flag, name in _OF_TEXTS.items():
        if getattr(own, name) != getattr(OnPolicy(), name):
            yield (
                f"{flag} {getattr(own, name)}",
                "no --on-policy",
                "a share of steps on the student's own texts",
            )
    if own.rollouts is not None:
        yield (
            own.rollouts.named,
            "no --on-policy",
            "a share of steps on the student's own texts",
        )


def _unused_of_several(
    distill: DistillConfig,
) -> Iterator[tuple[str, str, str]]:
    """Of several teachers, where there are no such."""
    count = len(distill.teachers)
    if count > 1:
        return
    if distill.weights:
        yield (
            "--teacher-weights",
            f"{count} --teacher",
            "several teachers",
        )
    if distill.weigh != "fixed":
        yield (
            f"--weigh {distill.weigh}",
            f"{count} --teacher",
            "several teachers",
        )
