"""Weights rounded in every pass are the formulas on paper and stay what they are when saved; dropped layers hand on
what they were given; what cannot be so shaped is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.settings import Shape, TrainConfig
from finetune.students.load import load_student
from finetune.students.shaping import rounded, settle, shape_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

ROWS = [
    {
        "prompt": f"What is {n} + {n} ?",
        "completion": f" it is a {tiny.FACTS[n % 4]}",
    }
    for n in range(8)
]
QUIET = ["--disable-tqdm", "--logging-strategy", "steps", "--logging-steps", 1]
BATCH = ["--per-device-train-batch-size", 8]


def config(**shape):
    return TrainConfig(
        data="", model="m", output=Path("o"), shape=Shape(**shape)
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


def on_paper(row, bits):
    """One row's weights, a number at a time."""
    sizes = [abs(value) for value in row]
    if bits == 2:
        mean = sum(sizes) / len(sizes)
        large = [size for size in sizes if size > 0.7 * mean]
        scale = sum(large) / len(large) if large else 0.0
        return [
            0.0
            if abs(value) <= 0.7 * mean
            else scale * (1 if value > 0 else -1)
            for value in row
        ]
    scale = max(sizes) / (2 ** (bits - 1) - 1)
    return [scale * round(value / scale) if scale else 0.0 for value in row]


@given(st.integers(2, 8), st.integers(0, 10**6))
def test_rounding_is_the_formula_and_changes_nothing_twice(bits, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 7, generator=generator)
    found = rounded(weight, bits)
    for row, wanted in zip(found.tolist(), weight.tolist(), strict=True):
        assert row == pytest.approx(on_paper(wanted, bits), rel=1e-5, abs=1e-6)
        assert len({*row}) <= 2**bits - 1
    assert torch.allclose(rounded(found, bits), found, atol=1e-6)
    assert torch.equal(rounded(weight * 0, bits), weight * 0)


def test_a_gradient_goes_straight_through_to_the_weights():
    model, _ = load_student(tiny.causal())
    shape_student(model, config(weight_bits=4), 1)
    linear = model.model.layers[0].mlp.down_proj
    states = torch.randn(5, linear.in_features)
    linear(states).square().sum().backward()
    said = states @ rounded(linear.weight.detach(), 4).T
    assert torch.allclose(linear.weight.grad, 2 * said.T @ states, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 4])
def test_a_student_is_saved_as_its_passes_read_it(data, tmp_path, bits):
    words = ["--input", data, "--model", tiny.causal(), *QUIET, *BATCH]
    more = ["--weight-bits", bits, "--max-steps", 3, "--learning-rate", "1e-3"]
    more += ["--held-out", write(tmp_path / "held.jsonl", HELD)]
    code, said = finetune("sft", *words, "--output", tmp_path / "s", *more)
    assert code == 0, said
    model, _ = load_student(str(tmp_path / "s"))
    weight = model.model.layers[1].self_attn.q_proj.weight
    assert all(len({*row}) <= 2**bits - 1 for row in weight.tolist())
    assert len({*model.get_input_embeddings().weight[0].tolist()}) > 2**bits
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        plain = model(ids).logits
        shape_student(model, config(weight_bits=bits), 1)
        assert torch.allclose(model(ids).logits, plain, atol=1e-4)


HELD = [{"prompt": "What is 9 + 9 ?", "completion": " it is a red pen"}]


def test_a_rounded_student_learns_from_a_teacher(data, tmp_path):
    words = ["--input", data, "--model", tiny.causal(), *QUIET, *BATCH]
    more = ["--weight-bits", 2, "--loss", "tsld", "--max-steps", 12]
    more += ["--teacher", tiny.wide(), "--learning-rate", "3e-3"]
    code, said = finetune("distill", *words, "--output", tmp_path / "s", *more)
    assert code == 0, said
    losses = [
        float(json.loads(line.replace("'", '"'))["loss"])
        for line in said.splitlines()
        if line.startswith("{'loss'")
    ]
    assert losses[-1] < losses[0]


def test_dropped_layers_hand_on_their_input_in_training_alone():
    model, _ = load_student(tiny.wide())
    ids = torch.tensor([[3, 4, 5]])
    plain = model.eval()(ids).logits
    layers = model.model.layers
    calls = []
    for number, layer in enumerate(layers):
        layer.mlp.register_forward_hook(
            lambda *_, number=number: calls.append(number)
        )
    shape_student(model, config(layer_drop=0.25), 1)
    assert torch.equal(model(ids).logits, plain)
    calls.clear()
    torch.manual_seed(0)
    model.train()
    for _ in range(200):
        model(ids)
    share = len(calls) / (200 * len(layers))
    # Four standard deviations of 800 draws are 0.06.
    assert abs(share - 0.75) < 0.06


def test_a_student_of_dropped_layers_is_cut_to_every_second(data, tmp_path):
    words = ["--input", data, "--model", tiny.wide(), *QUIET, *BATCH]
    more = ["--layer-drop", 0.5, "--max-steps", 3, "--learning-rate", "1e-3"]
    code, said = finetune("sft", *words, "--output", tmp_path / "s", *more)
    assert code == 0, said
    whole, _ = load_student(str(tmp_path / "s"))
    half, _ = load_student(f"truncate:{tmp_path / 's'}:every=2")
    kept = [whole.model.layers[n] for n in (1, 3)]
    for one, two in zip(half.model.layers, kept, strict=True):
        assert torch.equal(one.mlp.up_proj.weight, two.mlp.up_proj.weight)


class Bare(torch.nn.Module):
    """A model whose layers stand in no list."""

    @property
    def base_model(self):
        return self


def test_what_cannot_be_so_shaped_is_refused(data, tmp_path, monkeypatch):
    model, _ = load_student(tiny.causal())
    with pytest.raises(WrongUse, match="one process"):
        shape_student(model, config(layer_drop=0.5), 2)
    with pytest.raises(WrongUse, match="layers in a list"):
        shape_student(Bare(), config(layer_drop=0.5), 1)
    with pytest.raises(WrongUse, match="--lora"):
        Shape(weight_bits=4).check(adapts=True)
    with pytest.raises(WrongUse, match="Give --lora too"):
        Shape(student_bits=4).check(adapts=False)
    monkeypatch.setattr(
        "finetune.core.rounded_weights.find_spec", lambda _: None
    )
    with pytest.raises(WrongUse, match="pip install bitsandbytes"):
        Shape(student_bits=4).check(adapts=True)
    words = ["--input", data, "--model", "scratch:t5-tiny"]
    words += ["--output", tmp_path / "n", "--layer-drop", 0.2]
    code, said = finetune("sft", *words)
    assert code == 2
    assert "encoder-decoder" in said


def test_a_model_without_layers_is_left_alone_where_nothing_is_asked():
    head = torch.nn.Linear(2, 2)
    shape_student(head, config(), 2)
    before = head.weight.clone()
    settle(head, Shape())
    assert torch.equal(head.weight, before)
