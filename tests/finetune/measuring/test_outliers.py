"""Texts of a student's kind are told from others by its perplexity: by hand, against scikit-learn, with a small student."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring.likelihoods import Surprise
from finetune.measuring.outliers import scores, separation
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

# Numbers that often tie.
VALUES = st.lists(st.integers(-4, 4), min_size=1, max_size=30)


@given(VALUES, VALUES)
def test_separation_is_that_of_scikit_learn(inside, outside):
    from sklearn.metrics import roc_auc_score

    values = [float(value) for value in inside + outside]
    labels = [False] * len(inside) + [True] * len(outside)
    told = separation(values, labels)
    assert told["auroc"] == pytest.approx(roc_auc_score(labels, values))
    assert told["low"] <= told["auroc"] <= told["high"]
    # Slowly: every cut that lets enough of the others through.
    cuts = [
        cut
        for cut in inside
        if 100 * sum(value <= cut for value in inside) >= 95 * len(inside)
    ]
    through = sum(value <= min(cuts) for value in outside)
    assert told["far95"] == pytest.approx(through / len(outside))


@given(st.integers(1, 9), st.floats(0, 9), st.floats(0, 9))
def test_of_one_tokenizer_the_ratio_is_that_of_perplexities(tokens, one, two):
    found = scores([Surprise(one, tokens), Surprise(two, tokens)], "row 1")
    ratio = math.exp(one) / math.exp(two)
    assert math.exp(found["ratio"]) == pytest.approx(ratio)


def test_texts_of_one_kind_and_texts_without_a_token_are_refused():
    with pytest.raises(WrongUse, match="2 and 0 texts"):
        separation([1.0, 2.0], [False, False])
    with pytest.raises(WrongUse, match="row 7"):
        scores([Surprise(0.0, 0)], "row 7")


def nats(path, text):
    """Mean nats a token of a text behind the start of a text."""
    model, tokenizer = load_student(path)
    start = tokenizer.bos_token_id
    if start is None:
        start = tokenizer.eos_token_id
    ids = torch.tensor([[start, *tokenizer(text)["input_ids"]]])
    with torch.no_grad():
        logs = model(ids).logits[0, :-1].double().log_softmax(dim=-1)
    return -float(logs.gather(1, ids[0, 1:, None]).mean())


@pytest.mark.slow
def test_a_student_tells_its_own_texts_from_others(tmp_path):
    learnt = [{"text": f"it is a {fact}"} for fact in tiny.FACTS]
    rows = write(tmp_path / "rows.jsonl", learnt * 4)
    steps = ["--learning-rate", "3e-3", "--max-steps", 24]
    student = tmp_path / "s"
    code, said = finetune(
        "sft", "--data", rows, "--model", tiny.causal(), "--output", student,
        *QUIET, *steps,
    )  # fmt: skip
    assert code == 0, said
    mixed = [
        f"it is a {a.split()[0]} {b.split()[1]}"
        for a, b in zip(tiny.FACTS, tiny.FACTS[1:], strict=False)
    ]
    inside = [{"text": text} for text in mixed]
    outside = [
        {"text": f"{fact} What is {n}"} for n, fact in enumerate(tiny.FACTS)
    ]
    code, said = finetune(
        "evaluate-outliers", student, "--teacher", tiny.causal(),
        "--inside", write(tmp_path / "in.jsonl", inside),
        "--outside", write(tmp_path / "out.jsonl", outside), "--output", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, said
    info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert info["perplexity"]["auroc"] == info["ratio"]["auroc"] == 1.0
    assert info["perplexity"]["far95"] == 0.0
    assert "area under the ROC curve 1.000" in said
    lines = (tmp_path / "o" / "scores.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    text = inside[0]["text"]
    ours = nats(str(student), text)
    assert first["perplexity"] == pytest.approx(ours, rel=1e-4)
    gap = ours - nats(tiny.causal(), text)
    assert first["ratio"] == pytest.approx(gap, rel=1e-3)
    assert len(lines) == len(inside) + len(outside)


def test_a_row_without_a_text_is_refused(tmp_path):
    data = write(tmp_path / "in.jsonl", [{"prompt": "What is 1 + 1 ?"}])
    code, said = finetune(
        "evaluate-outliers", tiny.causal(), "--inside", data, "--outside", data,
        "--output", tmp_path / "o",
    )  # fmt: skip
    assert code == 2
    assert "prompt and completion, or text" in said
