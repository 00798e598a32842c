"""Small real models made on the spot, once a test process."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

FACTS = [
    "red pen",
    "blue pen",
    "old house",
    "new house",
    "tall tree",
    "small dog",
    "big dog",
    "green hat",
]


@cache
def causal(seed: int = 0) -> str:
    """A causal model with random weights."""
    from finetune.students import scratch

    model, tokenizer = scratch.build(
        "scratch:tiny",
        [f"What is {n} + {n} ? it is a {fact}" for n, fact in enumerate(FACTS)],
        seed,
    )
    return _saved(model, tokenizer)


@cache
def untied() -> str:
    """One of the same tokenizer whose head is no copy of its embeddings."""
    from finetune.students.load import load_student

    model, tokenizer = load_student(causal())
    model.config.tie_word_embeddings = False
    head = model.get_input_embeddings().weight.detach().clone() * 1.1
    model.lm_head.weight = type(model.lm_head.weight)(head)
    return _saved(model, tokenizer)


@cache
def wide() -> str:
    """One of the same tokenizer, wider and deeper: 128 wide and 4 layers where `causal` is 64 wide and has 2."""
    from transformers import AutoTokenizer

    from finetune.students import scratch

    tokenizer = AutoTokenizer.from_pretrained(causal())
    model, _ = scratch.build("scratch:mini", [], 0, tokenizer=tokenizer)
    return _saved(model, tokenizer)


def other() -> str:
    """Another one with the same tokenizer."""
    return causal(1)


def _of_pairs(model: Any) -> Any:
    """A tokenizer of texts and pairs of texts, as BERT reads them: ids 0 to 3 are [PAD], [UNK], [CLS] and [SEP]."""
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(model)
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )


@cache
def encoder(task: str, width: int = 32, layers: int = 2) -> str:
    """A BERT with random weights and the head of a task (mlm, classify, tokens), three classes: cold, warm, hot."""
    import torch
    import transformers
    from tokenizers import models

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *sorted({w for fact in FACTS for w in fact.split()}),
        "##s",
    ]
    numbers = {word: n for n, word in enumerate(words)}
    tokenizer = _of_pairs(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.mask_token = "[MASK]"
    kind = {
        "mlm": "BertForMaskedLM",
        "classify": "BertForSequenceClassification",
        "tokens": "BertForTokenClassification",
    }[task]
    names = {0: "cold", 1: "warm", 2: "hot"}
    torch.manual_seed(width)
    model = getattr(transformers, kind)(
        transformers.BertConfig(
            vocab_size=len(words), hidden_size=width, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=64, max_position_embeddings=32,
            initializer_range=0.3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, id2label=names, label2id={v: k for k, v in names.items()},
        )
    )  # fmt: skip
    return _saved(model, tokenizer)


@cache
def nli() -> str:
    """A three-way classifier that learned: what begins with "a" follows, with "not" contradicts, all else does neither."""
    import torch
    from tokenizers import models
    from transformers import BertConfig, BertForSequenceClassification

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "not",
        "a",
        *sorted({word for fact in FACTS for word in fact.split()}),
    ]
    numbers = {word: n for n, word in enumerate(words)}
    tokenizer = _of_pairs(models.WordLevel(numbers, unk_token="[UNK]"))
    torch.manual_seed(0)
    labels = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=32, initializer_range=0.2,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, id2label=labels, label2id={v: k for k, v in labels.items()},
        )
    )  # fmt: skip
    pairs = [
        (f"{other}{a}", f"{word}{b}", n)
        for a in FACTS[:4]
        for b in FACTS[:4]
        for n, word in enumerate(("not ", "a ", ""))
        for other in ("", "a ")
    ]
    tokens = tokenizer(
        [a for a, _, _ in pairs],
        [b for _, b, _ in pairs],
        padding=True,
        return_tensors="pt",
    )
    wanted, optimizer = (
        torch.tensor([label for _, _, label in pairs]),
        torch.optim.AdamW(model.parameters(), 3e-3),
    )
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(**tokens).logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    return _saved(model, tokenizer)


def broken(path: str, loader: str) -> str:
    """A copy of a model, opened by a class of transformers, whose word vectors are no numbers."""
    import torch
    import transformers

    folder = tempfile.mkdtemp() + "/model"
    shutil.copytree(path, folder)
    model = getattr(transformers, loader).from_pretrained(path)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    model.save_pretrained(folder)
    return folder


def _saved(model, tokenizer) -> str:
    folder = Path(tempfile.mkdtemp()) / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
