"""Which losses, teachers and texts of `finetune distill` go together; what does not is refused
before a model is opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetune.trainers.distill_settings import (
    DistillConfig,
    check_offline,
    unused,
)
from finetune.trainers.loss_terms import Term, read_terms
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.losses.base import Loss


def is_of_tokens(loss: Loss[Any]) -> bool:
    """Whether a loss is a mean over tokens of logits, within or across tokenizers."""
    from finetune.losses.base import TokenLoss  # noqa: PLC0415
    from finetune.losses.base_crossing import CrossLoss  # noqa: PLC0415 - torch

    return isinstance(loss, TokenLoss | CrossLoss)


def checked(distill: DistillConfig) -> list[Term]:
    """The losses of a training, whose settings go together.

    Raises:
        WrongUse: what does not.
    """
    terms = read_terms(distill.losses)
    _warn_of_smoothing(distill, terms)
    _check_source(distill, terms)
    for flag, beside, needs in unused(distill):
        raise WrongUse(
            flag,
            beside,
            needs,
            "Give that too, or leave the setting out: it would change nothing.",
        )
    for term in terms:
        _check_term(term, distill, len(terms))
    if distill.offline:
        check_offline(distill, terms)
    _check_texts(distill, terms)
    return terms


def _check_term(term: Term, distill: DistillConfig, count: int) -> None:
    """Refuses what one loss does not go with; `count` are all losses."""
    from finetune.losses.base_crossing import CrossLoss  # noqa: PLC0415 - torch

    own = distill.on_policy
    where = f"--loss {term.name}"
    across = isinstance(term.loss, CrossLoss)
    asks = not is_of_tokens(term.loss) and term.loss.compares != "exits"
    if term.layers and term.loss.compares == "logits":
        raise WrongUse(
            where,
            f"layers={term.layers}",
            "a loss over layers",
            "Leave them out: this one compares probabilities.",
        )
    if (across or asks) and len(distill.teachers) != 1:
        raise WrongUse(
            where,
            f"{len(distill.teachers)} teachers",
            "one --teacher",
            "Distil from them one after the other.",
        )
    if across and count > 1:
        raise WrongUse(
            where,
            f"beside {count - 1} other losses",
            "that loss alone, or with --likelihood",
            "Its teacher reads tokens of its own.",
        )
    if across and (own.correct or own.corrupt):
        raise WrongUse(
            "--correct, --corrupt",
            f"with {term.name}",
            "a teacher of the student's tokenizer",
            "Leave them out.",
        )
    if term.loss.reweighs and distill.likelihood:
        raise WrongUse(
            "--likelihood",
            f"with {term.name}, which weighs tokens itself",
            "0",
            "Leave it out.",
        )


def _check_texts(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """Refuses what losses of whole texts do not go with."""
    from finetune.losses.contrastive import Contrastive  # noqa: PLC0415
    from finetune.losses.minillm import Minillm  # noqa: PLC0415 - torch

    own = distill.on_policy
    for term in terms:
        alone = len(terms) == 1 and not distill.likelihood
        if isinstance(term.loss, Contrastive) and not alone:
            raise WrongUse(
                f"--loss {term.name}",
                "beside other losses or --likelihood",
                "that loss alone",
                "Half of its rows are texts that the student should not learn.",
            )
        if not isinstance(term.loss, Minillm):
            continue
        if not own.writes:
            raise WrongUse(
                f"--loss {term.name}",
                "no --on-policy",
                "a share of steps on the student's own texts",
                "Give --on-policy 1, or less with --likelihood for the rows.",
            )
        if own.replay or own.correct or own.temperature != 1:
            raise WrongUse(
                f"--loss {term.name}",
                "with --replay, --correct or --sampling-temperature",
                "texts as the student of this step draws them",
                "Leave them out.",
            )
    if own.teacher_share and (len(distill.teachers) != 1 or not own.writes):
        raise WrongUse(
            f"--teacher-share {own.teacher_share:g}",
            f"{len(distill.teachers)} teachers, --on-policy {own.share:g}",
            "one --teacher who writes along, and --on-policy",
            "Give them, or leave it out.",
        )


def _warn_of_smoothing(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """What smoothing leaves of the likeness of classes is spread further by a high temperature
    (Chandrasegaran et al., 2022).
    """
    for term in terms:
        heat = getattr(term.loss, "temperature", 1.0)
        if distill.teacher_smoothing > 0 and heat > 1:
            warnings.warn(
                f"{term.name}: a teacher trained with label smoothing "
                f"{distill.teacher_smoothing:g} teaches badly above temperature 1",
                stacklevel=2,
            )


def _check_source(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """One source of what is learnt; none where the student's own exits teach."""
    alone = all(term.loss.compares == "exits" for term in terms)
    if alone and not distill.teachers and not distill.offline:
        return
    if alone or bool(distill.teachers) == bool(distill.offline):
        todo = "Give --teacher MODEL (several times for several), or --offline DIR."
        if alone:
            todo = "Leave it out: the student's own exits teach, or add another --loss."
        raise WrongUse(
            "distill",
            f"{len(distill.teachers)} teachers, --offline {distill.offline}",
            "one source of the teacher's probabilities",
            todo,
        )
