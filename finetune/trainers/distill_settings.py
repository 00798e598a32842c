"""What `finetune distill` is told, and what of it does not go together: settings alone, without
torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.teacher_prompts import TeacherPrompt
from finetune.teachers.opened_settings import Opening
from finetune.teachers.served_settings import Servers
from finetune.trainers.on_policy_settings import OnPolicy
from synth.core import registry
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.losses.base_crossing import TrainingLoss

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
        loss: of finetune.losses, NAME[:key=value,...].
        likelihood: weight of the cross-entropy to the rows' own tokens.
        strength: weight of the loss.
        on_policy: the student's own texts in training; see `_on_policy.OnPolicy`.
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
    loss: str = "forward_kl"
    likelihood: float = 0.0
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
    def named(self) -> list[str]:
        """The teachers, as a record has them."""
        if self.servers is not None:
            return list(self.servers.urls)
        return list(self.teachers) or [str(self.offline)]


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


def check_prompts(distill: DistillConfig, loss: TrainingLoss) -> None:
    """Refuses a student that would learn from itself what it says already, and prompts of teachers
    that nobody reads.
    """
    own = self_teacher(distill.teachers)
    if own is not None and not loss.same_tokenizer:
        raise WrongUse(
            f"--loss {distill.loss}",
            f"with --teacher {_SELF}{own.kind}",
            "a loss of one tokenizer",
            "Take another loss.",
        )
    if own is not None and own.kind != "base" and distill.prompt is None:
        raise WrongUse(
            f"--teacher {_SELF}{own.kind}",
            "no --teacher-prompt",
            "a prompt that tells it more than the student",
            "Give one: both would say the same.",
        )
    if distill.prompt is None:
        return
    if distill.offline:
        raise WrongUse(
            "--teacher-prompt",
            "with --offline",
            "a teacher that is asked",
            "Give it to `finetune teach`, which wrote what the teacher said.",
        )
    if not loss.same_tokenizer:
        raise WrongUse(
            "--teacher-prompt",
            f"with --loss {distill.loss}",
            "a teacher of the student's tokenizer",
            "Take another loss, or leave it out.",
        )


def check_parts(distill: DistillConfig, loss: TrainingLoss) -> None:
    """Refuses what a teacher cannot do of whom the likeliest tokens are known, and nothing else."""
    own = distill.on_policy
    if distill.offline and (own.share or own.corrupt):
        todo = "Give a --teacher that can be asked about new texts, or a --teacher-url."
        raise WrongUse(
            "--offline",
            f"--on-policy {own.share}, --corrupt {own.corrupt}",
            "the rows that were taught",
            todo,
        )
    if own.correct:
        raise WrongUse(
            "--correct",
            f"with {distill.source}",
            "a teacher who gives all probabilities",
            "Give a --teacher, or leave it out.",
        )
    where = f"{distill.source} with --loss {distill.loss}"
    if not getattr(loss, "parts", False):
        able = ", ".join(
            name
            for name in registry.built_in("finetune.losses")
            if _learns_from_parts(name)
        )
        todo = (
            f"Take one of {able}, whose tail stands for all other tokens; or give a --teacher "
            f"in the place of {distill.source}."
        )
        raise WrongUse(
            where,
            "a loss of all that a teacher says",
            "one of its likeliest tokens and of the rest",
            todo,
        )
    temperature = getattr(loss, "temperature", 1.0)
    if temperature != 1:
        todo = "Leave the temperature out, or give a --teacher."
        raise WrongUse(
            where,
            f"temperature={temperature:g}",
            "1, at which its words are known",
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
    if not own.share:
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
    itself = self_teacher(distill.teachers)
    source = distill.source
    if itself is not None and itself.kind != "base":
        source = f"--teacher {distill.teachers[0]}"
    for flag, value in distill.opening.given():
        if source:
            yield (
                f"{flag} {value}",
                source,
                "a model as teacher, by --teacher",
            )
