"""How sure a student is of what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finetune.core.tensors import Logits, RowLabels, RowLogits
from finetune.data.prompts import Template, rendered
from finetune.generation.continuations import continuations

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def mean_gap(logits: Tensor) -> float:
    """The mean gap between the two likeliest tokens, 0 to 1; 0 where there is no token.

    Args:
        logits: [T, V] of each token before it is said.

    >>> round(mean_gap(torch.tensor([[0.9, 0.1], [0.6, 0.4]]).log()), 4)
    0.5
    """
    if not len(logits):
        return 0.0
    best = logits.float().softmax(dim=-1).topk(2).values
    return float((best[:, 0] - best[:, 1]).mean())


def said_logits(
    model: PreTrainedModel, prompt: RowLabels, said: RowLabels
) -> RowLogits:
    """[tokens said, V], each row before its token, by one pass over the whole text.

    Args:
        model: a decoder or an encoder-decoder.
        prompt: [P] token ids, one or more.
        said: [T] token ids.
    """
    logits: Logits
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            logits = model(input_ids=prompt[None], labels=said[None]).logits
            return logits[0]
        whole = torch.cat([prompt, said])
        logits = model(input_ids=whole[None]).logits
        return logits[0, len(prompt) - 1 : -1]


def sure_of(
    model: PreTrainedModel, prompt: RowLabels, said: RowLabels
) -> float:
    """How sure a student is of a reply, 0 to 1: the mean gap between the two likeliest tokens over
    all that it said; 0 of a reply without a token.

    Args:
        model: the student.
        prompt: [P] token ids, one or more.
        said: [T] token ids without the end.
    """
    if not len(said):
        return 0.0
    return mean_gap(said_logits(model, prompt, said))


def confidence(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    tokens: int = 16,
    temperature: float = 0.6,
    template: Template = "never",
) -> float:
    """How sure a student is at a prompt, 0 to 1: the mean gap between the two likeliest tokens over
    the first tokens that it says.

    NesyCD (arXiv:2409.13203) retrieves knowledge only where this is at most 0.68.

    Args:
        model: a language model.
        tokenizer: its own.
        prompt: without the knowledge.
        tokens: so many are drawn.
        template: whether the prompt goes through the chat template.
        temperature: of the draw; the gap is that of the probabilities at this temperature.
    """
    text, special = rendered(prompt, tokenizer, template)
    drawn = continuations(
        model,
        [tokenizer(text, add_special_tokens=special)["input_ids"]],
        pad=tokenizer.pad_token_id,
        max_new_tokens=tokens,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        output_scores=True,
    )
    return mean_gap(torch.cat(list(drawn.scores)))
