"""An encoder that fills masked tokens of a text beside its prompt, and says how long that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.core.tensors import Inputs, Logits
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "lengths.safetensors"
# Under this name it hangs on the encoder.
_NAME = "lengths"
# Of each text by each number of tokens, from 0.
LengthScores = Annotated[Tensor, "batch length"]


class Reading(NamedTuple):
    """How a student reads a prompt and what it writes.

    Attributes:
        mask: the token that stands for one to be written.
        padding: the token that is none.
        first: the token before all; None for none.
        last: the token behind a prompt, and behind a text; None for none.
        typed: whether tokens of the two are told apart by types.
        room: tokens of both together, at most.
    """

    mask: int
    padding: int
    first: int | None
    last: int | None
    typed: bool
    room: int

    def inputs(
        self, sources: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """(what an encoder reads of prompts and texts, [B, T] True where a token is of a text). An
        empty text is no text: its prompt is read alone.
        """
        start = [] if self.first is None else [self.first]
        end = [] if self.last is None else [self.last]
        rows: list[list[int]] = []
        spots: list[list[int]] = []
        types: list[list[int]] = []
        for source, text in zip(sources, texts, strict=True):
            before = [*start, *source, *end]
            behind = [*text, *end] if text else []
            rows.append([*before, *behind])
            types.append([0] * len(before) + [1] * len(behind))
            beside = len(behind) - len(text)
            spots.append([0] * len(before) + [1] * len(text) + [0] * beside)
        read = {
            "input_ids": padded(rows, self.padding),
            "attention_mask": (padded(rows, -1) >= 0).long(),
        }
        if self.typed:
            read["token_type_ids"] = padded(types, 0)
        return read, padded(spots, 0).bool()


def reading_of(tokenizer: PreTrainedTokenizerBase, places: int) -> Reading:
    """The reading of a tokenizer's texts.

    Args:
        tokenizer: of the student.
        places: tokens that the student reads at most, besides one before all and one behind.

    Raises:
        WrongUse: no token of it stands for a masked one.
    """
    if tokenizer.mask_token_id is None:
        raise WrongUse(
            "--model",
            "a tokenizer without a mask token",
            "one of a masked language model",
            "Take another model.",
        )
    return Reading(
        tokenizer.mask_token_id,
        tokenizer.pad_token_id,
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        "token_type_ids" in tokenizer.model_input_names,
        places - 1,
    )


def padded(lists: Sequence[Sequence[int]], fill: int) -> Tensor:
    """[B, T] of numbers, filled up to the longest."""
    parts = [torch.tensor(list(one), dtype=torch.long) for one in lists]
    made: Tensor = nn.utils.rnn.pad_sequence(
        parts, batch_first=True, padding_value=fill
    )
    return made


def add_lengths(model: PreTrainedModel, most: int) -> None:
    """Hangs a head on an encoder that scores lengths of 0 to `most` tokens, with even scores."""
    head = nn.Linear(model.config.hidden_size, most + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model.add_module(_NAME, head.to(model.device, model.dtype))


def length_scores(model: Any, prompts: Inputs) -> LengthScores:
    """How long a student says that the text of each prompt is, from the state of the first token.

    Args:
        model: as it is called, with whatever wraps it.
        prompts: that it reads, without texts.
    """
    states = model(**prompts, output_hidden_states=True).hidden_states[-1]
    whole = getattr(model, "module", model)
    scores: LengthScores = getattr(whole, _NAME)(states[:, 0])
    return scores


def token_scores(model: Any, read: Inputs) -> Logits:
    """What a student says of each token."""
    logits: Logits = model(**read).logits
    return logits


def keep(model: PreTrainedModel, folder: Path) -> None:
    """Writes an encoder as transformers loads it, and its scores of lengths beside it."""
    head = getattr(model, _NAME)
    delattr(model, _NAME)
    try:
        model.save_pretrained(folder)
    finally:
        model.add_module(_NAME, head)
    weights = {
        name: value.contiguous() for name, value in head.state_dict().items()
    }
    save_file(weights, str(folder / FILE))


def load_lengths(model: PreTrainedModel, folder: str) -> None:
    """Hangs on an encoder what `keep` wrote beside it."""
    weights = load_file(str(Path(folder) / FILE))
    add_lengths(model, len(weights["bias"]) - 1)
    getattr(model, _NAME).load_state_dict(weights)
