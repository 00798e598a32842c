"""What moves between the steps of a distillation, and is saved with checkpoints."""

from __future__ import annotations

from dataclasses import asdict, replace

from transformers.trainer_callback import ExportableState, TrainerCallback

from finetune.core.rows import JsonObject
from finetune.losses.taid import Taid, TaidSchedule
from finetune.trainers.loss_terms import Term
from finetune.trainers.on_policy_settings import AdaptiveShare
from synth.core.records import Row


class Interpolation(TrainerCallback, ExportableState):  # type: ignore[misc]
    """TAID's t between optimiser steps; it is saved with checkpoints, so that resumed runs go on
    where they were.

    Args:
        schedule: fields of the schedule.
    """

    def __init__(self, schedule: Row) -> None:
        self.schedule = TaidSchedule(**schedule)
        self.seen = 0.0

    def state(self) -> JsonObject:
        """What a checkpoint holds."""
        return {
            "args": {"schedule": asdict(self.schedule)},
            "attributes": {"seen": self.seen},
        }


class Adaptation(TrainerCallback, ExportableState):  # type: ignore[misc]
    """The share of steps on own texts as it is now; saved with checkpoints, as `Interpolation`.

    Args:
        moved: fields of an `AdaptiveShare`.
    """

    def __init__(self, moved: Row) -> None:
        self.moved = AdaptiveShare(**moved)

    def state(self) -> JsonObject:
        """What a checkpoint holds."""
        return {"args": {"moved": asdict(self.moved)}, "attributes": {}}


def moved_to(term: Term, t: float) -> Term:
    """The term, whose target stands at t where it is TAID's."""
    if not isinstance(term.loss, Taid):
        return term
    return replace(term, loss=replace(term.loss, t=t))
