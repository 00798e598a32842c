"""Small models behind filters say what transformers says of the same texts, in any order and any
company.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.scoring import calibration
from finetune.scoring.models import Model, classify, embed, embedded, loss
from tests import tiny

TEXTS = [
    "a red pen",
    "not big dog",
    "old house tall tree",
    "",
    "a red pen",
    "blue",
    "small dog a new house",
]


@pytest.fixture(scope="module")
def encoder() -> Model:
    return Model("embed", tiny.nli())


@pytest.fixture(scope="module")
def classifier() -> Model:
    return Model("classify", tiny.nli())


@pytest.fixture(scope="module")
def causal() -> Model:
    return Model("loss", tiny.causal())


def alone(model: Model, text: str) -> np.ndarray[Any, Any]:
    """The unit mean of a text's states, from the library itself."""
    tokens = model.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        states = model.model(**tokens).last_hidden_state[0].double()
    mean = states.mean(dim=0).numpy()
    return mean / np.linalg.norm(mean)


def test_vectors_are_unit_means_of_the_states_one_text_at_a_time(encoder):
    table = embedded(encoder, TEXTS)
    assert table.dtype == np.float32
    for text, vector in zip(TEXTS, table, strict=True):
        assert vector == pytest.approx(alone(encoder, text), abs=1e-5)
    assert table[0] == pytest.approx(table[4], abs=1e-6)


def test_vectors_survive_the_message_and_nothing_is_asked_of_nothing(encoder):
    said = embed(encoder, {"texts": TEXTS})
    raw = np.frombuffer(base64.b64decode(said["vectors"]), np.float32)
    table = raw.reshape(len(TEXTS), said["dim"])
    assert np.array_equal(table, embedded(encoder, TEXTS))
    assert embed(encoder, {"texts": []}) == {"vectors": "", "dim": 0}
    assert json.loads(json.dumps(said)) == said


def test_more_texts_than_a_batch_stay_in_their_order(encoder, monkeypatch):
    whole = embedded(encoder, TEXTS)
    monkeypatch.setattr("finetune.scoring.models.BATCH", 2)
    assert embedded(encoder, TEXTS) == pytest.approx(whole, abs=1e-5)
    assert embedded(encoder, TEXTS[::-1])[::-1] == pytest.approx(
        whole, abs=1e-5
    )


def test_a_pooling_file_says_which_token_counts_and_a_setting_how_many(
    tmp_path,
):
    folder = tmp_path / "model"
    shutil.copytree(tiny.nli(), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True})
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 4})
    )
    model = Model("embed", str(folder))
    assert model.limit == 4
    (vector,) = embedded(model, ["a red pen blue old house"])
    tokens = model.tokenizer("a red", return_tensors="pt")
    with torch.no_grad():
        first = model.model(**tokens).last_hidden_state[0, 0].double()
    unit = (first / first.norm()).numpy()
    assert vector == pytest.approx(unit, abs=1e-5)


def test_a_long_text_is_cut_at_what_the_model_reads(encoder):
    assert encoder.limit == 32
    many = " ".join(["red"] * 500)
    same = " ".join(["red"] * 30)
    long, short = embedded(encoder, [many, same])
    assert long == pytest.approx(short, abs=1e-6)


PAIRS = [
    ("a red pen", "not red pen"),
    ("red pen", "a old house tall"),
    ("", ""),
    ("not", "big dog"),
]


def test_classes_are_the_models_own_and_their_shares_add_up(classifier):
    said = classify(classifier, {"pairs": PAIRS})
    assert said["labels"] == ["contradiction", "entailment", "neutral"]
    for (first, second), shares in zip(PAIRS, said["shares"], strict=True):
        tokens = classifier.tokenizer([first], [second], return_tensors="pt")
        with torch.no_grad():
            wanted = classifier.model(**tokens).logits[0].softmax(-1)
        assert shares == pytest.approx(wanted.tolist(), abs=1e-5)
        assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    nothing = classify(classifier, {"pairs": []})
    assert nothing == {"labels": said["labels"], "shares": []}


def test_a_calibration_beside_a_model_speaks_for_the_margin(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny.nli(), folder)
    curve = calibration.Calibration("platt", (0.5,), (-0.25,))
    (folder / calibration.FILE).write_text(json.dumps(curve.record()))
    model = Model("classify", str(folder))
    assert model.calibration == curve
    said = classify(model, {"pairs": PAIRS})
    for (first, second), shares in zip(PAIRS, said["shares"], strict=True):
        tokens = model.tokenizer([first], [second], return_tensors="pt")
        with torch.no_grad():
            logits = model.model(**tokens).logits[0].tolist()
        margin = logits[1] - logits[0]
        wanted = 1 / (1 + np.exp(-(0.5 * margin - 0.25)))
        assert shares == pytest.approx([1 - wanted, wanted], abs=1e-5)
    # Only who classifies looks for it.
    assert Model("embed", str(folder)).calibration is None


SAID = [
    ("What is 3 ?", "it is a red pen"),
    ("", "it is 4"),
    ("What is", ""),
    ("", ""),
    ("What is 3 + 3 ? it is a red pen", "6"),
]


def by_the_library(model: Model, prompt: str, text: str) -> tuple[float, int]:
    """(mean loss a token, tokens) of a text behind its prompt, by the model's own loss."""
    before = model.tokenizer(prompt)["input_ids"] if prompt else []
    ids = model.tokenizer(text)["input_ids"] if text else []
    if not ids:
        return 0.0, 0
    start = model.tokenizer.eos_token_id
    whole = torch.tensor([[start, *before, *ids]])
    labels = torch.tensor([[-100] * (1 + len(before)) + ids])
    with torch.no_grad():
        output = model.model(input_ids=whole, labels=labels)
    return float(output.loss), len(ids)


def test_likelihoods_are_the_models_own_and_prompts_do_not_count(causal):
    said = loss(causal, {"pairs": SAID})
    wanted = [by_the_library(causal, *pair) for pair in SAID]
    assert said["tokens"] == [count for _, count in wanted]
    assert said["nll"] == pytest.approx([nll for nll, _ in wanted], abs=1e-4)
    single = [loss(causal, {"pairs": [pair]}) for pair in SAID]
    assert [one["nll"][0] for one in single] == pytest.approx(
        said["nll"], abs=1e-4
    )
    assert loss(causal, {"pairs": []}) == {"nll": [], "tokens": []}


def test_a_long_prompt_loses_its_beginning_and_a_long_text_its_end(
    causal, monkeypatch
):
    monkeypatch.setattr(causal, "limit", 6)
    long = loss(causal, {"pairs": [("red " * 50 + "What is 3", "it is")]})
    short = loss(causal, {"pairs": [("What is 3", "it is")]})
    assert long["tokens"] == short["tokens"] == [2]
    assert long["nll"] == pytest.approx(short["nll"], abs=1e-5)
    cut = loss(causal, {"pairs": [("What", "it is a red pen it is 7")]})
    bare = loss(causal, {"pairs": [("", "it is a red pen")]})
    assert cut["tokens"] == bare["tokens"] == [5]
    assert cut["nll"] == pytest.approx(bare["nll"], abs=1e-5)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_worker_says_why_a_damaged_model_does_not_open(tmp_path, name):
    from finetune.scoring.worker import answer

    folder = tmp_path / "model"
    shutil.copytree(tiny.nli(), folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    said = answer({"kind": "embed", "model": str(folder), "texts": ["a"]})
    assert set(said) == {"error", "todo"}
    assert said["error"]
    assert "saved model" in said["todo"]
    assert Path(folder).is_dir()
