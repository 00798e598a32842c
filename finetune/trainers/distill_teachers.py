"""Who teaches in a distillation: open models in this process, the student itself, or words on disk;
behind prompts of their own where they have some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from finetune.core.rows import JsonObject
from finetune.teachers.across_tokenizers import (
    AcrossTeacher,
    AnyTeacher,
    SeveralAcross,
)
from finetune.teachers.in_process import (
    CacheTeacher,
    ModelTeacher,
    SeveralTeachers,
    Teacher,
)
from finetune.teachers.own import OwnTeacher
from finetune.teachers.prompted import PromptedTeacher
from finetune.trainers.distill_settings import DistillConfig, self_teacher
from finetune.trainers.loss_terms import Term

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def own_teacher(
    distill: DistillConfig, model: PreTrainedModel, size: int
) -> OwnTeacher | None:
    """The student as its own teacher while it learns; None where it is not."""
    own = self_teacher(distill.teachers)
    if own is None or own.kind == "base":
        return None

    rate = own.rate if own.kind == "ema" else None
    return OwnTeacher(model, size, rate)


def prompted_teacher(
    teacher: AnyTeacher | None,
    made: Sequence[JsonObject],
    seen: Sequence[JsonObject],
    tokenizer: PreTrainedTokenizerBase,
    others: bool,
) -> PromptedTeacher:
    """The teacher behind prompts of its own; `others` where it reads texts too that are in no
    row.
    """
    pad = tokenizer.pad_token_id or 0
    prompted = PromptedTeacher(cast("Teacher", teacher), made, seen, pad)
    if others:
        prompted.prompts.check_prompts()
    return prompted


def inside_of(teacher: AnyTeacher | None) -> PreTrainedModel | None:
    """The teacher's model, where it can show its inside."""
    if isinstance(teacher, ModelTeacher | AcrossTeacher | PromptedTeacher):
        return teacher.model
    return None


def opened_teacher(
    distill: DistillConfig,
    terms: Sequence[Term],
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device | str,
) -> AnyTeacher | None:
    """Open models in this process, or words on disk; None where no loss asks a teacher."""
    if distill.offline:
        return CacheTeacher(distill.offline, tokenizer)
    if not distill.teachers:
        return None
    if not all(term.loss.same_tokenizer for term in terms):
        voices = [
            AcrossTeacher(
                path, tokenizer, device=device, opening=distill.opening
            )
            for path in distill.teachers
        ]
        if len(voices) == 1:
            return voices[0]
        return SeveralAcross(voices, distill.weights)
    made = [
        ModelTeacher(path, tokenizer, device=device, opening=distill.opening)
        for path in distill.teachers
    ]
    if len(made) == 1:
        return made[0]
    return SeveralTeachers(made, weigh=distill.weigh, weights=distill.weights)
