"""What a model writes behind prompts of different lengths: the one call of generate()."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from finetune.core.tensors import NextScores, RowLabels, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Continuations(NamedTuple):
    """Of a batch of prompts.

    Attributes:
        ids: [B, T] what was written, without the prompt (a decoder repeats it) and without the
            start token of an encoder-decoder; filled up behind the end of a text.
        scores: of each of the T positions [B, V], where `output_scores` asks for them.
    """

    ids: TokenIds
    scores: Sequence[NextScores]


def prompt_length(
    model: PreTrainedModel, prompts: Sequence[Sequence[int] | RowLabels]
) -> int:
    """Positions before the first that is written."""
    if model.config.is_encoder_decoder:
        return 1
    return max(1, *map(len, prompts))


def end_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> set[int]:
    """What ends a text: of chat models it may be several tokens."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return {*listed, tokenizer.eos_token_id} - {None}


def continuations(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int] | RowLabels],
    *,
    pad: int | None,
    **options: object,
) -> Continuations:
    """Asks for all prompts at once; shorter ones are filled up on their left.

    Args:
        model: a decoder or an encoder-decoder; its mode (train, eval) is left as it is.
        prompts: token ids of each.
        pad: what fills up; masked, so any id serves.
        options: of transformers' generate().
    """
    width = max(1, *map(len, prompts))
    shape = (len(prompts), width)
    ids = torch.full(shape, pad or 0)
    mask = torch.zeros(shape, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        start = width - len(prompt)
        ids[row, start:] = torch.as_tensor(prompt)
        mask[row, start:] = 1
    with torch.no_grad():
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            pad_token_id=pad,
            return_dict_in_generate=True,
            **options,
        )
    sequences: Tensor = output.sequences
    start = prompt_length(model, prompts)
    return Continuations(sequences[:, start:], output.scores or ())
