"""Translations by their generative model (VMSST), through the commands: learnt from some pairs, and
found among others.
"""

from __future__ import annotations

import json
import random

import pytest
import torch

from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_retriever import FAST, finetune

FIRST = ("red", "blue", "old", "new", "tall", "small")
SECOND = ("pen", "house", "tree", "dog", "hat", "door")
THIRD = ("sings", "falls", "burns")
LOSS = "vmsst:weight=0.1,language=8"


def other(word):
    """The word of the other language."""
    return word[::-1] + "o"


def pairs():
    """108 texts and their translations, whose words stand in another order."""
    made = []
    for a in FIRST:
        for b in SECOND:
            for c in THIRD:
                words = (other(b), other(a), other(c), "ka")
                made.append((f"the {a} {b} {c}", " ".join(words)))
    random.Random(0).shuffle(made)
    return made


@pytest.fixture(scope="module")
def model():
    """An encoder with random weights whose words are those of both languages."""
    import transformers
    from tokenizers import models

    words = {word for pair in pairs() for text in pair for word in text.split()}
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(words)]
    numbers = {word: n for n, word in enumerate(names)}
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(names),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    tokenizer = tiny._of_pairs(models.WordLevel(numbers, unk_token="[UNK]"))
    return tiny._saved(transformers.BertModel(config), tokenizer)


def trained(model, out, rows, *more):
    data = write(out.parent / "rows.jsonl", rows)
    return finetune(
        *("retriever", "--input", data, "--model", model, "--output", out),
        *FAST,
        *("--loss", "vmsst", *more),
    )


def found(model, rows, out):
    """The share of texts that find their translation, and F1 from both sides."""
    bitext = write(
        out.parent / "bitext.jsonl",
        [{"source": text, "target": said} for text, said in rows],
    )
    words = ("--bitext", bitext, "--output", out)
    code, said = finetune("evaluate-embeddings", model, *words)
    assert code == 0, said
    info = json.loads((out / "evaluation.json").read_text())["bitext"]
    return info["forward"]["share"], info["f1"]


def test_translations_that_were_never_seen_are_found(model, tmp_path):
    held, seen = pairs()[:36], pairs()[36:]
    rows = [{"query": text, "positive": said} for text, said in seen]
    out = tmp_path / "student"
    code, said = trained(
        *(model, out, rows, "--max-steps", "200", "--learning-rate", "5e-3"),
        *("--per-device-train-batch-size", "16"),
        *("--loss", LOSS, "--seed", "1"),
    )
    assert code == 0, said
    before = found(model, held, tmp_path / "before")
    after = found(out, held, tmp_path / "after")
    print(before, after)  # noqa: T201 - shown where the test fails
    assert max(before) < 0.2
    assert min(after) > 0.6
    info = json.loads((out / "train.json").read_text())
    assert info["retriever_loss"] == LOSS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "heads"), "a vector a text: kind bi"),
        (("--scale", "2"), "which reads none"),
        (("--loss", "vmsst:weight=-1"), "weight=-1, which is below 0"),
        (("--loss", "vmsst:language=99999999999"), "which is above 65,536"),
        (("--loss", "vmsst:weight=1,weight=2"), "for the second time"),
        (("--loss", "vmsst:speed=1"), "vmsst:weight=W,warmup=N"),
        (("--negatives", "2"), "the first text of a row alone"),
        (("--teacher", "nobody/none"), "which reads no teacher"),
    ],
)
def test_what_it_does_not_read_is_refused(words, said, tmp_path):
    rows = [{"query": fact, "positive": fact} for fact in tiny.FACTS]
    out = tmp_path / "student"
    code, output = trained(tiny.encoder("mlm"), out, rows, *words)
    assert (code, said in output) == (2, True), output
    assert not out.exists()
