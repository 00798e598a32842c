"""OpenAI's sampling fields, and those that local models have besides, as generate() takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers import LogitsProcessor, LogitsProcessorList

from finetune.core.rows import JsonObject
from finetune.core.tensors import NextScores, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_TOKENS = 512
# Taken over as they are; a pack gives them under `sampling: {extra: {...}}`.
_SAME = ("top_k", "no_repeat_ngram_size", "repetition_penalty")
# What requests of one batch must share.
FIELDS = (
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "bad_words",
    # Names those who may share a batch; None for anybody.
    "company",
    *_SAME,
)


class Penalties(LogitsProcessor):  # type: ignore[misc]
    """Lowers logits of tokens that were generated already: by `presence` once, and by `frequency`
    each time, as OpenAI documents it.

    Args:
        presence: nats.
        frequency: nats a time.
        start: tokens of the prompt, which do not count.
    """

    def __init__(self, presence: float, frequency: float, start: int) -> None:
        self.presence = presence
        self.frequency = frequency
        self.start = start

    def __call__(self, input_ids: TokenIds, scores: NextScores) -> NextScores:
        """[B, V] scores of the next token."""
        generated = input_ids[:, self.start :]
        counts = scores.new_zeros(scores.shape).scatter_add_(
            1, generated, scores.new_ones(generated.shape)
        )
        return scores - self.frequency * counts - self.presence * (counts > 0)


def _given(body: JsonObject, name: str) -> float:
    """A number of the body; 1, which changes nothing, where it is missing or null."""
    value = body.get(name)
    return 1.0 if value is None else float(value)


def options(
    body: JsonObject, tokenizer: PreTrainedTokenizerBase, start: int
) -> JsonObject:
    """Keyword arguments of generate(); with `stop_strings` it wants the tokenizer as well, which
    `written` gives it.

    Args:
        body: an OpenAI chat body.
        tokenizer: of the model.
        start: tokens before the first generated one: the prompt's, or the start token of an
            encoder-decoder.
    """
    # A field that is null counts as one that is missing, as with OpenAI.
    temperature = _given(body, "temperature")
    made: JsonObject = {
        "max_new_tokens": body.get("max_tokens") or MOST_TOKENS,
        "do_sample": temperature > 0,
    }
    if temperature > 0:
        top_p = _given(body, "top_p")
        made.update(temperature=temperature, top_p=top_p, top_k=0)
    if body.get("stop") and _spells(tokenizer):
        made["stop_strings"] = list(body["stop"])
    if banned := banned_ids(body.get("bad_words") or [], tokenizer):
        made["bad_words_ids"] = banned
    presence = body.get("presence_penalty") or 0.0
    frequency = body.get("frequency_penalty") or 0.0
    if presence or frequency:
        made["logits_processor"] = LogitsProcessorList(
            [Penalties(presence, frequency, start)]
        )
    return {
        **made,
        **{name: body[name] for name in _SAME if body.get(name) is not None},
    }


def _spells(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether generate() can look for stops: it spells its tokens behind these letters, which not
    every vocabulary has. Without it a text is longer, and is cut off all the same.
    """
    letters = "abcdef"
    ids = tokenizer(letters, add_special_tokens=False)["input_ids"]
    return letters in tokenizer.decode(ids)


def banned_ids(
    words: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Token ids of words as they stand at the beginning of a text and behind a space, small and
    with a capital.
    """
    spelled = dict.fromkeys(
        form
        for word in words
        for base in (word, word.capitalize())
        for form in (base, f" {base}")
    )
    ids = dict.fromkeys(
        tuple(tokenizer(form, add_special_tokens=False)["input_ids"])
        for form in spelled
    )
    unknown = (tokenizer.unk_token_id,)
    return [list(tokens) for tokens in ids if tokens and tokens != unknown]
