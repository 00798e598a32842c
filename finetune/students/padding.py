"""The token that fills rows of a batch to one length, where a model brings none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def settle_padding(
    tokenizer: PreTrainedTokenizerBase,
    where: str,
    config: PreTrainedConfig | None = None,
) -> None:
    """Pads with the token that the model's config names, else with the end of a text, where a
    tokenizer has no token for that; as those of GPT-2 and Llama have none.

    Args:
        tokenizer: is changed.
        where: what named it.
        config: of its model, which is told the token where it names none: a decoder that sorts
            texts into classes reads the last token that is no padding.

    Raises:
        WrongUse: there is no such token.
    """
    text = None if config is None else config.get_text_config()
    named = getattr(text, "pad_token_id", None)
    if tokenizer.pad_token is None:
        spare = tokenizer.eos_token or tokenizer.sep_token
        # Llama's first configs have -1 for none.
        if named is not None and 0 <= named < len(tokenizer):
            spare = tokenizer.convert_ids_to_tokens(named)
        tokenizer.pad_token = spare
    if tokenizer.pad_token is None:
        raise WrongUse(
            where,
            "a tokenizer with neither padding nor the end of a text",
            "one of them",
            "Set pad_token in its tokenizer_config.json.",
        )
    if text is not None and (named is None or named < 0):
        text.pad_token_id = tokenizer.pad_token_id
