"""A compressor of demonstrations learns what a frozen language model says with them in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers import Trainer

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs, Scalar
from finetune.data.demonstrations import DEMONSTRATIONS, NUMBER
from finetune.data.tokens import IGNORED, MOST_TOKENS, prepared
from finetune.losses.forward_kl import ForwardKl
from finetune.students.demonstrations import Asked, Compressor, padded, said
from finetune.trainers.notes import Notes
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import (
        PretrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )


class Shown(NamedTuple):
    """A batch.

    Attributes:
        alone: questions with their answers.
        whole: the same behind their demonstrations.
        ids: [B, L] demonstrations, padded at their beginnings.
        mask: [B, L] which of these are there.
    """

    alone: Asked
    whole: Asked
    ids: Tensor
    mask: Tensor


def most_tokens(*configs: PretrainedConfig) -> int:
    """Tokens that models of these configurations read at most, and at most `MOST_TOKENS`."""
    most = MOST_TOKENS
    for config in configs:
        plain = config.get_text_config()
        most = min(most, getattr(plain, "max_position_embeddings", most))
    return most


def encoded(
    rows: Sequence[JsonObject],
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    vectors: int = 0,
    *,
    source: str,
) -> list[JsonObject]:
    """`ids`, `labels`, `shots` (ids of the demonstrations) and `place` (among the rows, from 0) of
    each row.

    Args:
        rows: with demonstrations.
        tokenizer: of both models.
        most: tokens that both models read.
        vectors: that stand behind demonstrations, and before a row.
        source: of the rows, for messages.

    Raises:
        WrongUse: a row that is longer than `most` with its demonstrations, or one of both with the
            vectors; a prompt without a token.
    """
    plain = [
        {"prompt": row["prompt"], "completion": row["completion"]}
        for row in rows
    ]
    # Nothing is cut: what does not fit is refused below.
    made = prepared(plain, tokenizer, None, template="never", where=source)
    found = []
    for place, row in zip(made.positions, made.rows, strict=True):
        where = f"{source} row {rows[place][NUMBER]}"
        if row["labels"][0] != IGNORED:
            raise WrongUse(
                f"{where} prompt",
                f"{rows[place]['prompt']!r}"[:80],
                "a text with a token, behind which the answer stands",
                "Write one, or leave the row out.",
            )
        shots = tokenizer(
            rows[place][DEMONSTRATIONS], add_special_tokens=False
        )["input_ids"]
        lengths = {
            "with its demonstrations": len(shots) + len(row["input_ids"]),
            "of demonstrations and vectors": len(shots) + vectors,
            "with the vectors": len(row["input_ids"]) + vectors,
        }
        for what, length in lengths.items():
            if length > most:
                raise WrongUse(
                    where,
                    f"{length} tokens {what}",
                    f"{most} at most",
                    "Lower --shots or --vectors, or shorten the row.",
                )
        told = {"ids": row["input_ids"], "labels": row["labels"]}
        found.append({**told, "shots": shots, "place": place})
    return found


class ShownCollator:
    """Pads rows of `encoded`.

    Args:
        tokenizer: of both models.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.pad = tokenizer.pad_token_id or 0
        self.bos = tokenizer.bos_token_id

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        """A batch, as `shown_in` reads it."""
        first = [row["ids"][0] for row in rows]
        start = int(self.bos is not None and set(first) == {self.bos})
        batch: dict[str, Tensor] = {}
        for name, fill in (("ids", self.pad), ("labels", IGNORED)):
            alone: list[list[int]] = [row[name] for row in rows]
            whole: list[list[int]] = []
            for row, cells in zip(rows, alone, strict=True):
                shots = row["shots"]
                if name == "labels":
                    shots = [IGNORED] * len(shots)
                whole.append([*cells[:start], *shots, *cells[start:]])
            batch[name] = padded(alone, fill)[0]
            batch[f"whole_{name}"] = padded(whole, fill)[0]
        before = [row["shots"] for row in rows]
        batch["shots"], batch["mask"] = padded(before, self.pad, left=True)
        batch["start"] = torch.full((len(rows),), start)
        return batch


def shown_in(batch: Inputs) -> Shown:
    """What a batch holds."""
    start = int(batch["start"][0])
    alone = Asked(batch["ids"], batch["labels"], start)
    whole = Asked(batch["whole_ids"], batch["whole_labels"], start)
    return Shown(alone, whole, batch["shots"], batch["mask"])


class DemonstrationsTrainer(Trainer):  # type: ignore[misc]
    """Minimises KL(the model with demonstrations || the model with vectors) + likelihood x the
    cross-entropy of the answers behind the vectors, means over the tokens of a batch, in nats.

    Args:
        reader: the frozen model.
        likelihood: 0 or more.
        options: of transformers' Trainer; its model is a `Compressor`.
    """

    def __init__(
        self, *, reader: PreTrainedModel, likelihood: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False
        # In a tuple it is no part of what is saved.
        self._reader = (reader,)
        self.likelihood = likelihood
        self.apart = ForwardKl()
        self.notes = Notes()

    def compute_loss(
        self,
        model: Compressor,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Any]:
        """The loss of one batch."""
        shown = shown_in(inputs)
        (reader,) = self._reader
        ours = said(reader, shown.alone, model(shown.ids, shown.mask))
        with torch.no_grad():
            theirs = said(reader, shown.whole, None)
        there = torch.ones(1, len(ours), device=ours.device)
        total = self.apart(ours[None], theirs[None], there)
        self._note("kl", total)
        labels = shown.alone.labels[:, 1:]
        answers = labels[labels != IGNORED]
        own = torch.nn.functional.cross_entropy(ours, answers)
        self._note("cross_entropy", own)
        if self.likelihood:
            total = total + self.likelihood * own
        return (total, {"logits": ours}) if return_outputs else total

    def _note(self, name: str, value: Scalar) -> None:
        steps = self.current_gradient_accumulation_steps
        processes = self.accelerator.num_processes
        share = value.detach() / (steps * processes)
        self.notes.add(name, share, self.state.global_step)

    def log(
        self, logs: dict[str, float], start_time: float | None = None
    ) -> None:
        """Both terms beside their sum."""
        super().log({**logs, **self.notes.taken(self)}, start_time)
