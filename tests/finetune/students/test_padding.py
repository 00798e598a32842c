"""Models whose tokenizers have no token for padding: every command pads with the end of a text, and
what it saves opens in plain libraries and scores as here.
"""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
)

from finetune.scoring.models import Model, embed
from finetune.scoring.retrievers import pair_scores
from finetune.scoring.token_vectors import TokenVectors, whole
from finetune.students.encoders import open_encoder
from finetune.students.load import load_tokenizer
from finetune.students.padding import settle_padding
from synth.core.errors import WrongUse
from tests import tiny_padless
from tests.conftest import write
from tests.finetune.test_train import finetune

# Of different lengths, so that each batch is padded.
PAIRS = [
    ("who keeps the light", "The light of Malm is kept by Ann and others."),
    ("bell", "no"),
]
ROWS = [
    {"query": query, "documents": [text, "yes"], "scores": [2.0, 0.5]}
    for query, text in PAIRS
]
FAST = (
    *("--max-steps", "1", "--per-device-train-batch-size", "2"),
    *("--disable-tqdm", "--logging-strategy", "no"),
)
FAMILIES = sorted(tiny_padless.CONFIGS)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "ranked.jsonl"
    write(path, ROWS)
    return path


@pytest.fixture(scope="module")
def decoders(tmp_path_factory):
    """A folder by a family and a head."""
    folder = tmp_path_factory.mktemp("decoders")
    made = {}
    for family in FAMILIES:
        for head in ("Model", "ForSequenceClassification"):
            path = folder / f"{family}{head}"
            made[family, head] = tiny_padless.decoder(path, family, head)
    return made


def test_the_models_of_these_tests_have_no_padding(decoders):
    for folder in decoders.values():
        assert AutoTokenizer.from_pretrained(folder).pad_token is None
        config = json.loads((folder / "config.json").read_text())
        assert config.get("pad_token_id") is None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "way",
    [
        ("bi", "multiple_negatives_ranking"),
        ("bi", "lead:count=1"),
        ("multi", "multiple_negatives_ranking"),
        ("pair", "score_mse"),
        ("cross", "mse"),
    ],
)
def test_they_are_trained_kept_and_measured(
    rows, decoders, tmp_path, family, way
):
    kind, loss = way
    model = decoders[family, "Model"]
    teacher = ("--teacher", model) if loss.startswith("lead") else ()
    out = tmp_path / "out"
    said = finetune(
        *("retriever", "--data", rows, "--model", model, "--output", out),
        *("--kind", kind, "--loss", loss, *teacher, *FAST),
    )
    assert said[0] == 0, said
    assert AutoTokenizer.from_pretrained(out).pad_token == "<|end|>"
    measured = finetune(
        *("evaluate-retriever", "--data", rows, "--model", out),
        *("--kind", kind, "--output", tmp_path / "measured"),
    )
    assert measured[0] == 0, measured
    # Together, and one by one without any padding.
    together = pair_scores(kind, str(out), PAIRS)
    alone = [pair_scores(kind, str(out), [pair])[0] for pair in PAIRS]
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_ranker_opens_in_plain_transformers(rows, decoders, tmp_path, family):
    model = decoders[family, "ForSequenceClassification"]
    out = tmp_path / "out"
    said = finetune(
        *("retriever", "--data", rows, "--model", model, "--output", out),
        *("--kind", "cross", "--loss", "mse", *FAST),
    )
    assert said[0] == 0, said
    tokenizer = AutoTokenizer.from_pretrained(out)
    plain = AutoModelForSequenceClassification.from_pretrained(out).eval()
    batch = tokenizer(PAIRS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = plain(**batch).logits[:, 0]
    ours = pair_scores("cross", str(out), PAIRS)
    assert ours == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_they_score_lists_and_give_vectors(rows, decoders, tmp_path, family):
    model = decoders[family, "Model"]
    said = finetune(
        *("score-lists", "--data", rows, "--model", model, "--kind", "bi"),
        *("--output", tmp_path / "scored.jsonl"),
    )
    assert said[0] == 0, said
    texts = [text for pair in PAIRS for text in pair]
    vectors = TokenVectors(str(model))
    together = vectors.of([whole(text) for text in texts])
    for row, text in zip(together, texts, strict=True):
        assert vectors.of([whole(text)])[0] == pytest.approx(row, abs=1e-5)
    asked = Model("embed", str(model))
    assert embed(asked, {"texts": texts})["dim"] == 16


@pytest.mark.parametrize("head", ["Model", "ForSequenceClassification"])
def test_who_opens_them_settles_the_padding(decoders, head):
    folder = decoders["GPT2", head]
    kind = "bi" if head == "Model" else "cross"
    encoder = open_encoder(kind, str(folder))
    number = encoder.tokenizer.eos_token_id
    assert encoder.tokenizer.pad_token_id == number
    assert encoder[0].model.config.pad_token_id == number
    assert load_tokenizer(str(folder)).pad_token_id == number


def test_padding_that_the_config_names_is_taken_and_the_rest_stays():
    tokenizer = tiny_padless.tokenizer()
    config = GPT2Config(pad_token_id=7)
    settle_padding(tokenizer, "--model M", config)
    assert tokenizer.pad_token_id == config.pad_token_id == 7
    # A tokenizer's own is not overruled, and neither is a config's.
    settle_padding(tokenizer, "--model M", GPT2Config(pad_token_id=3))
    assert tokenizer.pad_token_id == 7


@pytest.mark.parametrize("named", [None, -1, 10**6])
def test_a_padding_that_is_none_of_its_tokens_is_none(named):
    tokenizer = tiny_padless.tokenizer()
    config = GPT2Config(pad_token_id=named)
    settle_padding(tokenizer, "--model M", config)
    assert tokenizer.pad_token == "<|end|>"


def test_a_tokenizer_with_nothing_to_pad_with_is_refused():
    tokenizer = tiny_padless.tokenizer(end=None)
    with pytest.raises(WrongUse, match="neither padding nor the end"):
        settle_padding(tokenizer, "--model M")
