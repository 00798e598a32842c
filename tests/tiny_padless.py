"""Small decoders with a tokenizer like that of GPT-2 and Llama: the end of a text, no padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# A class of transformers -> its config.
CONFIGS = {
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128},
    "Llama": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 128,
    },
}
TEXTS = ["who keeps the light of Harrow yes no", "The bell of Malm is kept."]


def tokenizer(texts: list[str] = TEXTS, end: str | None = "<|end|>") -> Any:
    """Byte pairs, as GPT-2 has them."""
    import tokenizers as tk
    from transformers import PreTrainedTokenizerFast

    raw = tk.Tokenizer(tk.models.BPE())
    raw.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tk.decoders.ByteLevel()
    trainer = tk.trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=tk.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[end] if end else [],
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=end, model_max_length=128
    )


def decoder(folder: Path, family: str = "GPT2", head: str = "Model") -> Path:
    """A decoder with a head, in a folder.

    Args:
        folder: where to.
        family: of CONFIGS.
        head: how the class's name goes on: Model, ForSequenceClassification, LMHeadModel or
            ForCausalLM.
    """
    import torch
    import transformers

    reader = tokenizer()
    torch.manual_seed(0)
    more = {"num_labels": 1} if head == "ForSequenceClassification" else {}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(reader),
        bos_token_id=None,
        eos_token_id=reader.eos_token_id,
        pad_token_id=None,
        **CONFIGS[family],
        **more,
    )
    getattr(transformers, f"{family}{head}")(config).save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder
