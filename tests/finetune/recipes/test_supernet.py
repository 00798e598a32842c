"""Encoders that share their weights: slices by hand, the student alone says what it said inside, the search by brute force."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.losses.minilm import Minilm
from finetune.students.supernet import Sizes, Space, Supernet, begun, count
from finetune.trainers.supernet import apart
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

SPACE = Space([1, 2, 3], [2, 4], [32, 64])
TEXTS = [f"{a} {b}" for a in tiny.FACTS for b in tiny.FACTS]


def teacher():
    return transformers.AutoModel.from_pretrained(
        tiny.encoder("mlm", 64, 4)
    ).eval()


def net():
    torch.manual_seed(3)
    return Supernet(begun(teacher().config, SPACE, None), SPACE)


IDS = torch.tensor([[2, 7, 9, 3], [2, 8, 3, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}


@settings(max_examples=5)
@given(st.sampled_from(SPACE.all()))
def test_a_student_alone_says_what_it_said_inside(sizes):
    made = net()
    alone = made.taken(sizes)
    with torch.no_grad():
        inside = made.run(sizes, INPUTS).last_hidden_state
        outside = alone(**INPUTS).last_hidden_state
    assert torch.allclose(inside, outside, atol=1e-6)
    assert alone.config.hidden_size == 16 * sizes.heads
    assert sum(w.numel() for w in alone.parameters()) == count(
        teacher().config, sizes
    )
    weight = alone.encoder.layer[0].attention.self.query.weight
    whole = made.model.encoder.layer[0].attention.self.query.weight
    width = 16 * sizes.heads
    assert torch.equal(weight, whole[:width, :width])


def test_a_step_moves_the_weights_of_its_encoder_alone():
    made = net()
    made.model.requires_grad_(True)
    sizes = Sizes(2, 2, 32)
    apart(made, sizes, teacher(), INPUTS, Minilm(heads=2)).backward()
    layers = made.model.encoder.layer
    first = layers[0].intermediate.dense.weight.grad
    assert first[:32, :32].abs().sum() > 0
    assert first[32:].abs().sum() == first[:, 32:].abs().sum() == 0
    assert layers[2].intermediate.dense.weight.grad is None


def test_the_loss_is_that_of_two_plain_encoders():
    """Relations of the last layers, by hand in float64."""
    made, big = net(), teacher()
    sizes = Sizes(2, 4, 32)
    found = apart(made, sizes, big, INPUTS, Minilm(heads=2))
    small = made.taken(sizes)
    total = 0.0
    with torch.no_grad():
        states = [
            (
                model(**INPUTS, output_hidden_states=True).hidden_states[-2],
                model.encoder.layer[-1],
            )
            for model in (small, big)
        ]
        for name in ("query", "key", "value"):
            sides = []
            for state, layer in states:
                out = getattr(layer.attention.self, name)(state).double()
                parts = out.view(2, 4, 2, -1).transpose(1, 2)
                scores = (
                    parts @ parts.transpose(-1, -2) / parts.shape[-1] ** 0.5
                )
                hidden = INPUTS["attention_mask"][:, None, None, :] == 0
                sides.append(scores.masked_fill(hidden, -1e4).log_softmax(-1))
            ours, theirs = sides
            kl = (theirs.exp() * (theirs - ours)).sum(-1)
            total += float(
                kl.transpose(1, 2)[INPUTS["attention_mask"] > 0].mean()
            )
    assert float(found.detach()) == pytest.approx(total / 3, rel=1e-4)


def test_a_source_is_cut_to_the_largest_encoder():
    big = teacher()
    made = begun(big.config, Space([2], [2], [32]), big)
    assert torch.equal(
        made.embeddings.word_embeddings.weight,
        big.embeddings.word_embeddings.weight[:, :32],
    )
    with pytest.raises(WrongUse, match="largest encoder"):
        begun(big.config, Space([9], [2], [32]), big)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"text": text} for text in TEXTS]
    held = [{"text": f"{text} dog"} for text in TEXTS[::7]]
    return write(folder / "rows.jsonl", rows), write(
        folder / "held.jsonl", held
    )


def trained(out, data, *more, steps=1, rate="3e-3"):
    words = ["supernet", "--input", data, "--model", "scratch", "--output", out]
    words += ["--teacher", tiny.encoder("mlm", 64, 4), "--layers", "1,2,3"]
    words += ["--heads", "2,4", "--feed-forward", "32,64", *QUIET, *more]
    words += ["--learning-rate", rate, "--max-steps", steps]
    code, said = finetune(*words, "--per-device-train-batch-size", 16)
    assert code == 0, said


def searched(folder, held, out, most):
    words = ["--held-out", held, "--output", out, "--most-parameters", most]
    code, said = finetune("search-supernet", folder, *words)
    return code, said


@pytest.mark.slow
def test_the_search_finds_the_nearest_encoder_of_its_budget(data, tmp_path):
    rows, held = data
    trained(tmp_path / "n", rows)
    code, said = searched(tmp_path / "n", held, tmp_path / "s", 60_000)
    assert code == 0, said
    info = json.loads((tmp_path / "s" / "search.json").read_text())
    config = teacher().config
    afford = [one for one in SPACE.all() if count(config, one) <= 60_000]
    assert 0 < len(afford) == len(info["encoders"]) < len(SPACE.all())
    assert info["best"]["loss"] == min(one["loss"] for one in info["encoders"])
    student = transformers.AutoModel.from_pretrained(tmp_path / "s")
    assert student.config.num_hidden_layers == info["best"]["layers"]
    assert student.num_parameters() == info["best"]["parameters"] <= 60_000
    code, said = searched(tmp_path / "n", held, tmp_path / "e", 10)
    assert (code, "weights of the smallest encoder" in said) == (2, True)
    code, said = searched(tiny.encoder("mlm"), held, tmp_path / "e", 10)
    assert (code, "a folder of `finetune supernet`" in said) == (2, True)


@pytest.mark.long
def test_all_encoders_come_nearer_to_the_teacher(data, tmp_path):
    rows, held = data
    losses = {}
    for name, steps in (("begun", 1), ("learnt", 200)):
        rate = 0 if steps == 1 else "3e-3"
        trained(tmp_path / name, rows, steps=steps, rate=rate)
        searched(tmp_path / name, held, tmp_path / f"{name}_s", 10**9)
        info = json.loads((tmp_path / f"{name}_s" / "search.json").read_text())
        losses[name] = {
            (one["layers"], one["heads"], one["feed_forward"]): one["loss"]
            for one in info["encoders"]
        }
    assert len(losses["begun"]) == 12
    for sizes, loss in losses["begun"].items():
        assert losses["learnt"][sizes] < 0.7 * loss


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--layers", "1.5"], "whole numbers"),
        (["--heads", "0,2"], "whole numbers"),
        (["--relation-heads", 3], "divides them all"),
        (["--lora"], "--lora"),
    ],
)
def test_spaces_that_cannot_be_trained_are_refused(data, tmp_path, words, says):
    base = {"--layers": "1,2", "--heads": "2,4", "--feed-forward": "32"}
    base |= {
        "--input": data[0],
        "--model": "scratch",
        "--output": tmp_path / "n",
    }
    given = [part for pair in base.items() for part in pair]
    more = ["--teacher", tiny.encoder("mlm", 64, 4), *words]
    code, said = finetune("supernet", *given, *more)
    assert (code, says in said) == (2, True), said


def test_a_decoder_is_no_teacher(data, tmp_path):
    words = [
        "--input",
        data[0],
        "--model",
        "scratch",
        "--output",
        tmp_path / "n",
    ]
    words += ["--layers", "1", "--heads", "2", "--feed-forward", "32"]
    code, said = finetune("supernet", *words, "--teacher", tiny.causal())
    assert (code, "such as BERT or RoBERTa" in said) == (2, True), said


def test_a_search_writes_over_no_model_of_others(tmp_path):
    model = tmp_path / "theirs"
    shutil.copytree(tiny.encoder("mlm"), model)
    code, said = finetune(
        "search-supernet", tmp_path, "--most-parameters", 10, "--output", model,
        "--held-out", write(tmp_path / "rows.jsonl", [{"text": "red"}]),
    )  # fmt: skip
    assert (code, "which no training here wrote" in said) == (2, True), said
