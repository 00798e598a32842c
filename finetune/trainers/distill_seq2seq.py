"""An encoder-decoder learns the probabilities of a decoder: the student reads the prompt and
writes, the teacher reads both in one text.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any

import torch
from transformers import Seq2SeqTrainer

from finetune.data.tokens import IGNORED
from finetune.kernels.fused import Head, fused
from finetune.kernels.hidden_states import head_of
from finetune.losses.base import TokenLoss


def expose_decoder(model: Any) -> None:
    """`model(input_ids, attention_mask, labels, hidden_only=True)` returns the decoder's states [B,
    L, H]; state k predicts label k.
    """
    original = model.forward

    @functools.wraps(type(model).forward)
    def forward(
        self: Any, *args: Any, hidden_only: bool = False, **options: Any
    ) -> Any:
        if not hidden_only:
            return original(*args, **options)
        read = self.get_encoder()(
            input_ids=options["input_ids"],
            attention_mask=options["attention_mask"],
        ).last_hidden_state
        said = self.prepare_decoder_input_ids_from_labels(
            labels=options["labels"]
        )
        mask = options["attention_mask"]
        return self.get_decoder()(
            input_ids=said,
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
        teacher: Any,
        likelihood: float,
        strength: float,
        size: int,
        **options: Any,
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
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The sum over this batch's tokens, divided by those of the whole step on all processes."""
        labels = inputs["labels"]
        known = {
            name: inputs[name]
            for name in ("input_ids", "attention_mask", "labels")
        }
        hidden = model(**known, hidden_only=True)
        divisor = (
            None if num_items_in_batch is None else float(num_items_in_batch)
        )
        head = self._head(self.accelerator.unwrap_model(model))
        loss, _ = fused(
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

    def _head(self, model: Any) -> Head:
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

    def _says(self, inputs: Mapping[str, Any]) -> Any:
        """The teacher over prompt and labels in one text, by the student's flat places."""
        labels = inputs["labels"]
        mask = inputs["attention_mask"].bool()
        prompts = [
            ids[real]
            for ids, real in zip(inputs["input_ids"], mask, strict=True)
        ]
        texts = [
            torch.cat([prompt, row[row != IGNORED]])
            for prompt, row in zip(prompts, labels, strict=True)
        ]
        width = max(map(len, texts))
        pad = self.processing_class.pad_token_id
        ids = torch.stack(
            [
                torch.nn.functional.pad(text, (0, width - len(text)), value=pad)
                for text in texts
            ]
        )
        real = (
            torch.stack([torch.arange(width) < len(text) for text in texts])
            .long()
            .to(ids.device)
        )
        say = self.teacher.says({"input_ids": ids, "attention_mask": real})
        length = labels.shape[1]
        # Label j of a row is token len(prompt) + j of the text, which the place before it predicts.
        first = torch.tensor(
            [len(prompt) - 1 for prompt in prompts], device=labels.device
        )
        return lambda places: say(
            (places // length) * (width - 1)
            + first[places // length]
            + places % length
        )
