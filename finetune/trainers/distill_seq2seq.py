"""An encoder-decoder learns the probabilities of a decoder: the student reads the prompt and
writes, the teacher reads both in one text.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import Seq2SeqTrainer

from finetune.core.tensors import (
    Inputs,
    Positions,
    RowLabels,
    RowLogits,
    Scalar,
)
from finetune.data.tokens import IGNORED
from finetune.kernels.fused import fused
from finetune.kernels.heads import Head
from finetune.kernels.hidden_states import head_of
from finetune.losses.base import TokenLoss
from finetune.losses.base_parts import Sparse, TeacherAt
from finetune.teachers.in_process import Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments


def expose_decoder(model: PreTrainedModel) -> None:
    """`model(input_ids, attention_mask, labels, hidden_only=True)` returns the decoder's states [B,
    L, H]; state k predicts label k.
    """
    original = model.forward

    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: TrainingArguments,
        hidden_only: bool = False,
        **options: object,
    ) -> object:
        if not hidden_only:
            return original(*args, **options)
        read = self.get_encoder()(
            input_ids=options["input_ids"],
            attention_mask=options["attention_mask"],
        ).last_hidden_state
        shifted = self.prepare_decoder_input_ids_from_labels(
            labels=options["labels"]
        )
        mask = options["attention_mask"]
        return self.get_decoder()(
            input_ids=shifted,
            encoder_hidden_states=read,
            encoder_attention_mask=mask,
        ).last_hidden_state

    model.forward = types.MethodType(forward, model)


class Seq2SeqDistillTrainer(Seq2SeqTrainer):  # type: ignore[misc]
    """Minimises strength x loss(student, teacher) + likelihood x cross-entropy over the labels.

    Args:
        loss: of tokens.
        teacher: a decoder of the same tokenizer, with `says(inputs)`.
        likelihood: weight of the cross-entropy.
        strength: weight of the loss.
        size: of the tokenizer.
    """

    def __init__(
        self,
        *,
        loss: TokenLoss,
        teacher: Teacher,
        likelihood: float,
        strength: float,
        size: int,
        **options: object,
    ) -> None:
        expose_decoder(options["model"])
        super().__init__(**options)
        self.kd_loss = loss
        self.teacher = teacher
        self.likelihood = likelihood
        self.strength = strength
        self.size = size
        self.model_accepts_loss_kwargs = (
            True  # the loss below divides by the tokens of the whole step
        )

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The sum over this batch's tokens, divided by those of the whole step on all processes."""
        labels = inputs["labels"]
        read = {
            name: inputs[name]
            for name in ("input_ids", "attention_mask", "labels")
        }
        hidden = model(**read, hidden_only=True)
        divisor = (
            None if num_items_in_batch is None else float(num_items_in_batch)
        )
        head = self._head(self.accelerator.unwrap_model(model))
        loss, *_ = fused(
            self.kd_loss,
            hidden,
            head,
            self._says(inputs),
            labels != IGNORED,
            labels=labels.clamp(min=0),
            likelihood=self.likelihood,
            strength=self.strength,
            denominator=divisor,
        )
        if divisor is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, {"hidden": hidden}) if return_outputs else loss

    def _head(self, model: PreTrainedModel) -> Head:
        head = head_of(model, self.size)
        scaled = getattr(
            model.config, "scale_decoder_outputs", False
        )  # T5 before 1.1
        return Head(
            weight=head.weight,
            bias=head.bias,
            scale=model.config.d_model**-0.5 if scaled else head.scale,
            softcap=head.softcap,
        )

    def _says(self, inputs: Inputs) -> TeacherAt:
        """The teacher over prompt and labels in one text, by the student's flat places."""
        labels = inputs["labels"]
        mask = inputs["attention_mask"].bool()
        texts = []
        # The position that predicts a row's first label.
        firsts = []
        for ids, real, row in zip(
            inputs["input_ids"], mask, labels, strict=True
        ):
            prompt = ids[real]
            texts.append(torch.cat([prompt, row[row != IGNORED]]))
            firsts.append(len(prompt) - 1)
        read = self._padded(texts)
        logits_at = self.teacher.says(read)
        length = labels.shape[1]
        text_length = read["input_ids"].shape[1] - 1
        first = torch.tensor(firsts, device=labels.device)

        def at_labels(positions: Positions) -> RowLogits | Sparse:
            # Label j of a row is token len(prompt) + j of the text.
            row = positions // length
            label = positions % length
            return logits_at(row * text_length + first[row] + label)

        return at_labels

    def _padded(self, texts: Sequence[RowLabels]) -> dict[str, Tensor]:
        """Texts as one batch that a decoder reads."""
        width = max(map(len, texts))
        pad = self.processing_class.pad_token_id
        ids = []
        real = []
        for text in texts:
            missing = width - len(text)
            ids.append(torch.nn.functional.pad(text, (0, missing), value=pad))
            real.append(torch.arange(width) < len(text))
        stacked = torch.stack(ids)
        mask = torch.stack(real).long().to(stacked.device)
        return {"input_ids": stacked, "attention_mask": mask}
