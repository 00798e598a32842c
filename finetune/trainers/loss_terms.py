"""`--loss NAME[=WEIGHT][:key=value,...]`: a loss among others, and how its weight moves over a
training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from synth.core import registry
from synth.core.errors import WrongUse, did_you_mean

if TYPE_CHECKING:
    from finetune.losses.base import Loss

ROOM = "finetune.losses"
_WHERE = "--loss"
Schedule = Literal["constant", "linear", "cosine"]
# A name, or module:Class, then `=WEIGHT`, then the parameters.
_WEIGHED = re.compile(r"\s*([\w.]+(?::[A-Z]\w*)?)\s*=([^:,]*)(:.*)?")
# Settings of a term; all others are parameters of its loss.
SETTINGS = ("schedule", "to", "warmup", "layers")


@dataclass(frozen=True, kw_only=True)
class Term:
    """One loss of a sum.

    Attributes:
        name: under which it is logged.
        loss: what is weighed.
        weight: at first, 0 or more.
        schedule: `constant`; `linear` or `cosine` from `weight` to `to`.
        to: the weight at the end.
        warmup: share of the steps (0 to below 1) in which the weight rises from 0; the schedule
            begins behind it.
        layers: what a loss of layers compares; see `layer_maps.LayerMap`. "" for the default of
            the loss.

    Example:
        >>> from finetune.losses import ForwardKl
        >>> term = Term(name="kl", loss=ForwardKl(), weight=2.0, schedule="linear", warmup=0.5)
        >>> [term.weight_at(done) for done in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.0, 1.0, 2.0, 1.0, 0.0]
    """

    name: str
    loss: Loss[Any]
    weight: float = 1.0
    schedule: Schedule = "constant"
    to: float = 0.0
    warmup: float = 0.0
    layers: str | tuple[str, ...] = ""

    @property
    def moves(self) -> bool:
        """Whether the weight changes."""
        return self.schedule != "constant" or self.warmup > 0

    def weight_at(self, done: float) -> float:
        """The weight where a share `done` (0 to 1) of the optimiser steps is behind."""
        rising = min(1.0, done / self.warmup) if self.warmup else 1.0
        behind = max(0.0, done - self.warmup) / (1 - self.warmup)
        share = {
            "constant": 0.0,
            "linear": behind,
            "cosine": (1 - math.cos(math.pi * behind)) / 2,
        }[self.schedule]
        return rising * (self.weight + share * (self.to - self.weight))


def read_terms(texts: Sequence[str]) -> list[Term]:
    """The terms as a command line has them; of one name, the second is `NAME_2`.

    >>> [(term.name, term.weight) for term in read_terms(["jsd:beta=0.3", "jsd=0.1", "rkd=2"])]
    [('jsd', 1.0), ('jsd_2', 0.1), ('rkd', 2.0)]

    Raises:
        WrongUse: no such loss, parameter, setting or weight.
    """
    terms: list[Term] = []
    seen: list[str] = []
    for text in texts:
        loss, settings = _read(text)
        name = registry.part_name(type(loss))
        seen.append(name)
        if seen.count(name) > 1:
            name = f"{name}_{seen.count(name)}"
        terms.append(Term(name=name, loss=loss, **settings))
    return terms


def _read(text: str) -> tuple[Loss[Any], dict[str, Any]]:
    """The loss of a term and its settings."""
    settings: dict[str, Any] = {}
    weighed = _WEIGHED.fullmatch(text)
    if weighed:
        text = weighed[1] + (weighed[3] or "")
        settings["weight"] = _weight("weight", registry.scalar(weighed[2]))
    spec = registry.parse_spec(text, _WHERE)
    for name in SETTINGS:
        if name in spec:
            settings[name] = spec.pop(name)
    allowed = () if registry.is_file(text) else None
    loss = registry.build(ROOM, spec, _WHERE, allowed)
    return loss, _checked(settings)


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a term, each of its kind."""
    schedule = settings.get("schedule", "constant")
    if schedule not in get_args(Schedule):
        names = get_args(Schedule)
        raise WrongUse(
            f"{_WHERE}: schedule",
            repr(schedule),
            f"one of {', '.join(names)}",
            did_you_mean(str(schedule), names)
            + " A rise at the beginning is warmup=SHARE.",
        )
    if "to" in settings:
        settings["to"] = _weight("to", settings["to"])
        if schedule == "constant":
            raise WrongUse(
                f"{_WHERE}: to={settings['to']:g}",
                "schedule=constant",
                "a schedule that ends there",
                "Give schedule=linear or schedule=cosine too.",
            )
    if "warmup" in settings:
        settings["warmup"] = _weight("warmup", settings["warmup"])
        if settings["warmup"] >= 1:
            raise _no_number("warmup", settings["warmup"], "0 to below 1")
    if "layers" in settings:
        settings["layers"] = _layers(settings["layers"])
    return settings


def _weight(name: str, value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < math.inf
    ):
        raise _no_number(name, value, "a number from 0 on")
    return float(value)


def _no_number(name: str, value: object, wanted: str) -> WrongUse:
    return WrongUse(
        f"{_WHERE}: {name}",
        repr(value),
        wanted,
        "Write NAME=WEIGHT:key=value, such as hidden_mse=0.1:schedule=linear.",
    )


def _layers(value: object) -> str | tuple[str, ...]:
    """A word, or pairs: `[2-4,4-8]`."""
    if isinstance(value, list):
        return tuple(str(pair) for pair in value)
    return str(value)
