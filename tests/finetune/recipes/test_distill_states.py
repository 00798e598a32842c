"""An encoder that learns a language model's states of texts: values by hand, a small training, what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from finetune.students.load import load_student
from finetune.trainers.distill_states import state_of
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_encoder import NAMES, TEXTS
from tests.finetune.recipes.test_distill_layers import (
    ONE_BATCH,
    QUIET,
    STILL,
    logged,
)
from tests.finetune.test_train import finetune

ROWS = [{"text": text, "label": NAMES[n % 3]} for n, text in enumerate(TEXTS)]
LEARN = ["--learning-rate", "3e-3", "--max-steps", 16]


def trained(rows, out, *more, width=32, at="last", loss="hidden_mse"):
    data = write(out.parent / f"{out.name}.jsonl", rows)
    words = ["--task", "classify", "--data", data, "--output", out, *QUIET]
    words += ["--model", tiny.encoder("classify", width, 2), *ONE_BATCH]
    words += ["--teacher", tiny.causal(), "--teacher-state", at, "--loss", loss]
    return finetune("distill", *words, *more)


def by_hand(texts, at):
    """[N, 64] states of the teacher behind its last layer and its norm, text after text."""
    model, tokenizer = load_student(tiny.causal())
    states = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            last = model(ids, output_hidden_states=True).hidden_states[-1][0]
        states.append(last[-1] if at == "last" else last.mean(dim=0))
    return torch.stack(states).double()


@pytest.mark.slow
@pytest.mark.parametrize("at", ["last", "mean"])
def test_the_loss_is_the_squared_distance_of_two_states_of_a_text(tmp_path, at):
    # The teacher reads another text of the third row, and labels are numbers that skip one.
    rows = [
        {"text": row["text"], "label": 2 * (n % 3)}
        for n, row in enumerate(ROWS)
    ]
    rows = [{**row, "teacher_text": row["text"]} for row in rows]
    rows[2]["teacher_text"] = "What is 4 + 4 ?"
    code, said = trained(
        rows, tmp_path / "s", *STILL, "--likelihood", 0.5, width=64, at=at
    )
    assert code == 0, said
    (log,) = logged(tmp_path / "s")
    path = tiny.encoder("classify", 64, 2)
    student = AutoModelForSequenceClassification.from_pretrained(path).eval()
    inputs = AutoTokenizer.from_pretrained(path)(
        TEXTS, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        ours = student(**inputs, output_hidden_states=True)
    theirs = by_hand([row["teacher_text"] for row in rows], at)
    gap = ours.hidden_states[-1][:, 0].double() - theirs
    labels = torch.tensor([n % 3 for n in range(8)])
    nats = torch.nn.functional.cross_entropy(ours.logits.double(), labels)
    assert log["hidden_mse"] == pytest.approx(
        float(gap.pow(2).mean()), rel=1e-4
    )
    assert log["cross_entropy"] == pytest.approx(float(nats), rel=1e-4)
    assert log["loss"] == pytest.approx(
        log["hidden_mse"] + 0.5 * float(nats), rel=1e-4
    )


@pytest.mark.slow
def test_a_student_learns_labels_and_states_of_another_width(tmp_path):
    held = write(tmp_path / "held.jsonl", [{"text": "red hat", "label": "hot"}])
    code, said = trained(
        ROWS, tmp_path / "s", *LEARN, "--likelihood", 1, "--held-out", held
    )
    assert code == 0, said
    logs = logged(tmp_path / "s")
    for name in ("hidden_mse", "cross_entropy"):
        assert logs[-1][name] < 0.9 * logs[0][name]
    saved = load_file(tmp_path / "s" / "model.safetensors")
    assert not any("beside" in name for name in saved)
    config = json.loads((tmp_path / "s" / "config.json").read_text())
    assert config["id2label"] == {"0": "cold", "1": "hot", "2": "warm"}
    # The teacher has no classes, so nothing is compared with what it says of them.
    line = (tmp_path / "s" / "held_out.jsonl").read_text().splitlines()[-1]
    assert {"hidden_mse", "cross_entropy", "accuracy"} <= set(json.loads(line))
    assert "kl" not in json.loads(line)


@pytest.mark.parametrize(
    ("loss", "more", "found"),
    [
        ("forward_kl", ["--likelihood", 1], "a loss of hidden states"),
        ("hidden_mse", [], "a weight above 0"),
        ("hidden_mse", ["--likelihood", 1, "--task", "mlm"], "--task mlm"),
    ],
)
def test_what_does_not_go_with_states_is_refused(tmp_path, loss, more, found):
    code, said = trained(ROWS, tmp_path / "s", *more, loss=loss)
    assert code == 2
    assert found in said
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_rows_of_one_class_are_refused(tmp_path):
    rows = [{"text": text, "label": "hot"} for text in TEXTS]
    code, said = trained(rows, tmp_path / "s", "--likelihood", 1)
    assert code == 2
    assert "1 classes" in said


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99))
def test_a_state_does_not_know_what_fills_a_text_up(lengths, seed):
    states = torch.randn(
        len(lengths), 6, 3, generator=torch.Generator().manual_seed(seed)
    ).double()
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    noisy = states.masked_fill(~mask[:, :, None], 1e6)
    for at in ("last", "mean"):
        found = state_of(noisy, mask, at)
        for text, length in enumerate(lengths):
            own = states[text, :length]
            wanted = own[-1] if at == "last" else own.mean(dim=0)
            assert torch.allclose(found[text], wanted)
