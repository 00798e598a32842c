"""Students built on the spot, with their tokenizer, for machines that reach no model hub: `--model
scratch:tiny`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synth.core.errors import WrongUse, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Size:
    """A Llama of this shape. Whole numbers are one token each: digit by digit takes 2 to 3 times
    the steps.

    Args:
        hidden: width of the residual stream.
        layers: transformer blocks.
        heads: attention heads.
        ff: width of the feed-forward layer.
        vocabulary: most tokens of the tokenizer.
        spread: standard deviation of the initial weights; 0.02 learns far slower at these widths.
    """

    hidden: int
    layers: int
    heads: int
    ff: int
    vocabulary: int
    spread: float


# Marks a token that continues a word; the usual "##" would collide with "####" before answers.
_INSIDE = "\u21b3"

SIZES = {
    "tiny": Size(64, 2, 4, 128, 2048, 0.08),
    "mini": Size(128, 4, 4, 256, 4096, 0.06),
    "small": Size(256, 6, 8, 768, 8192, 0.04),
}


# The same shapes as an encoder-decoder: scratch:t5-tiny.
_SEQ2SEQ = "t5-"


def is_seq2seq(model: str) -> bool:
    """Whether the model built on the spot is an encoder-decoder."""
    return model.removeprefix("scratch:").startswith(_SEQ2SEQ)


def is_scratch(model: str) -> bool:
    """Whether a model's name asks for one built on the spot."""
    return model.startswith("scratch:")


def size_of(model: str, where: str = "--model") -> Size:
    """The size that a model's name asks for.

    Args:
        model: `scratch:SIZE` or `scratch:t5-SIZE`.
        where: what named it, for the message.

    Raises:
        WrongUse: no such size.
    """
    name = model.removeprefix("scratch:").removeprefix(_SEQ2SEQ)
    if name not in SIZES:
        raise WrongUse(
            where,
            f"{model!r}",
            "scratch:SIZE or scratch:t5-SIZE",
            did_you_mean(name, SIZES),
        )
    return SIZES[name]


def build(
    model: str,
    texts: Sequence[str],
    seed: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) of a named size, the tokenizer fitted to the texts unless one is given.

    Raises:
        WrongUse: no such size.
    """
    size = size_of(model)
    tokenizer = tokenizer or build_tokenizer(texts, size.vocabulary)
    make = build_seq2seq if is_seq2seq(model) else build_model
    return make(size, tokenizer, seed), tokenizer


def build_classifier(
    model: str, texts: Sequence[str], seed: int, labels: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(classifier, tokenizer) of a named size: the same Llama, its last token read by a linear
    layer.
    """
    from transformers import LlamaForSequenceClassification  # noqa: PLC0415

    made, tokenizer = build(model, texts, seed)
    names = dict(enumerate(labels))
    made.config.update(
        {
            "id2label": names,
            "label2id": {name: n for n, name in names.items()},
            "num_labels": len(labels),
        }
    )
    classifier = LlamaForSequenceClassification(made.config)
    classifier.model.load_state_dict(made.model.state_dict())
    return classifier, tokenizer


def build_tokenizer(
    texts: Sequence[str], vocabulary: int
) -> PreTrainedTokenizerBase:
    """A tokenizer over white-space words: the most frequent ones and 0 to 99 whole, others in
    pieces.

    Greedy longest match over a sorted vocabulary: the same texts give the same token ids on every
    machine, which byte-pair training does not promise.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    raw = Tokenizer(
        models.WordPiece(
            _vocabulary(texts, vocabulary),
            unk_token="<unk>",
            continuing_subword_prefix=_INSIDE,
            max_input_chars_per_word=1000,
        )
    )
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.decoder = decoders.WordPiece(prefix=_INSIDE, cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _vocabulary(texts: Sequence[str], size: int) -> dict[str, int]:
    """Token -> id: specials, every character (as a beginning and as a continuation), numbers, then
    words by frequency.
    """
    words = Counter(word for text in texts for word in text.split())
    letters = sorted({letter for word in words for letter in word})
    fixed = [
        "<unk>",
        "<pad>",
        "<eos>",
        *(str(n) for n in range(100)),
        *letters,
        *(f"{_INSIDE}{letter}" for letter in letters),
    ]
    frequent = sorted(words, key=lambda word: (-words[word], word))
    return {
        token: number
        for number, token in enumerate(
            list(dict.fromkeys([*fixed, *frequent]))[
                : max(size, len(set(fixed)))
            ]
        )
    }


def build_model(
    size: Size, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """A Llama with tied embeddings; the same seed gives the same weights."""
    import torch  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        intermediate_size=size.ff,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=size.spread,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def build_seq2seq(
    size: Size, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """A T5 (version 1.1) of so many layers on both sides; the same seed gives the same weights."""
    import torch  # noqa: PLC0415
    from transformers import T5Config, T5ForConditionalGeneration  # noqa: PLC0415

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=size.hidden,
        d_kv=size.hidden // size.heads,
        d_ff=size.ff,
        num_layers=size.layers,
        num_heads=size.heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return T5ForConditionalGeneration(config)
