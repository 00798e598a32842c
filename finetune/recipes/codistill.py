"""Two models learn a task together, each from its labels and from the other (co-training and
co-distillation, arXiv:2311.02849).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.tokens import IGNORED, MOST_TOKENS, prepared
from finetune.settings import TrainConfig, model_options, trainer_config
from finetune.students import load as student
from finetune.students.training_rows import say_lost
from synth.core.errors import WrongUse
from synth.processes.ranks import is_launched

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from finetune.core.tensors import (
        Labels,
        Mask,
        Positions,
        RowLogits,
        RowStates,
        TokenIds,
    )
    from finetune.kernels.heads import Head


def run(
    config: TrainConfig,
    *,
    teacher: str,
    to_student: float = 1.0,
    to_teacher: float = 1.0,
) -> JsonObject:
    """Minimises CE(student) + CE(teacher) + a KL(teacher || student) + b KL(student || teacher),
    each KL for the one that learns from it.

    Args:
        config: data, model (the smaller one), output, fields of transformers' TrainingArguments;
            `max_length` of 1,024 tokens.
        teacher: the larger one, of the same tokenizer; it is trained too, and saved to
            OUTPUT/teacher.
        to_student: a.
        to_teacher: b.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data or models that cannot be used, other tokenizers, adapters.
    """
    if config.lora is not None:
        raise WrongUse(
            "--lora", "adapters", "whole models", "Leave --lora out."
        )
    data = rows.sft_rows(config.data)
    # Seconds of imports.
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments  # noqa: PLC0415

    from finetune.teachers.in_process import same_tokens  # noqa: PLC0415 - torch

    args = trainer_config(TrainingArguments, config, "codistill")
    small, tokenizer = student.load_learner(config.model, model_options(config))
    large, own = student.load_learner(teacher, option="--teacher")
    same_tokens(teacher, own, tokenizer)
    both = _pair(small, large, len(tokenizer), (to_student, to_teacher))
    where = f"--input {config.data}"
    encoded = prepared(data, tokenizer, template=config.template, where=where)
    say_lost(encoded, MOST_TOKENS)
    made = encoded.rows
    collator = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
    trainer = Trainer(
        model=both,
        args=args,
        train_dataset=made,
        processing_class=tokenizer,
        data_collator=collator,
    )

    def keep() -> None:
        small.save_pretrained(str(config.output))
        for what in (large, tokenizer):
            what.save_pretrained(str(config.output / "teacher"))

    return student.train_and_keep(
        trainer, tokenizer, config, len(made), keep=keep, facts=encoded.record()
    )


def _pair(
    small: PreTrainedModel,
    large: PreTrainedModel,
    size: int,
    weights: tuple[float, float],
) -> nn.Module:
    """Both models as one, whose loss is the sum."""
    import torch  # noqa: PLC0415

    from finetune.kernels.fused import fused  # noqa: PLC0415
    from finetune.kernels.hidden_states import expose_hidden, head_of  # noqa: PLC0415
    from finetune.losses.forward_kl import ForwardKl  # noqa: PLC0415

    class Pair(torch.nn.Module):
        """Smaller and larger model."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList([small, large])
            for part in self.parts:
                expose_hidden(part)

        def forward(
            self, input_ids: TokenIds, attention_mask: Mask, labels: Labels
        ) -> JsonObject:
            """{"loss": a mean over the batch's tokens}."""
            hidden = [
                part(
                    input_ids=input_ids,
                    attention_mask=attention_mask,
                    hidden_only=True,
                )[:, :-1]
                for part in self.parts
            ]
            heads = [head_of(part, size) for part in self.parts]
            shifted = labels[:, 1:]
            total = torch.zeros((), device=labels.device)
            for learner, strength in enumerate(weights):
                teacher = hidden[1 - learner].detach()
                say = functools.partial(
                    _logits,
                    heads[1 - learner],
                    teacher.reshape(-1, teacher.shape[-1]),
                )
                loss, *_ = fused(
                    ForwardKl(),
                    hidden[learner],
                    heads[learner],
                    say,
                    shifted != IGNORED,
                    labels=shifted.clamp(min=0),
                    likelihood=1.0,
                    strength=strength,
                )
                total = total + loss
            return {"loss": total * _share(shifted != IGNORED)}

    return Pair()


def _share(mask: Mask) -> Tensor | float:
    """The tokens of this process over the mean of all: with it, the mean over the processes is that
    over all their tokens.
    """
    from torch import distributed  # noqa: PLC0415

    if not is_launched():
        return 1.0
    own = mask.sum().float()
    everyones = own.clone()
    distributed.all_reduce(everyones)
    return own * distributed.get_world_size() / everyones


def _logits(head: Head, states: RowStates, positions: Positions) -> RowLogits:
    return head.logits(states[positions]).detach()
