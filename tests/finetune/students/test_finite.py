"""A training whose loss or weights are no finite numbers ends with an error, and what an earlier one
kept stays.
"""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer

from finetune.recipes import senses
from finetune.students.finite import check_loss, check_weights
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

FAST = ("--disable-tqdm", "--per-device-train-batch-size", "2")
SUMS = [
    {"prompt": f"What is {n} + {n} ?", "completion": f"it is a {fact}"}
    for n, fact in enumerate(tiny.FACTS)
]
LABELLED = [
    {"text": fact, "label": ("cold", "warm", "hot")[n % 3]}
    for n, fact in enumerate(tiny.FACTS)
]
LISTS = [
    {"anchor": f"a {fact}", "positive": f"the {fact}", "negatives": ["no"]}
    for fact in tiny.FACTS
]


def commands(folder):
    """A training by each way in which a student is kept."""
    write(folder / "sums.jsonl", SUMS)
    write(folder / "labelled.jsonl", LABELLED)
    write(folder / "lists.jsonl", LISTS)
    right = [{**row, "label": n % 2 == 0} for n, row in enumerate(SUMS)]
    write(folder / "right.jsonl", right)
    head = f"one:task=classify,rows={folder / 'labelled.jsonl'}"
    sums = ("--data", folder / "sums.jsonl", "--model", tiny.causal())
    encoder = tiny.encoder("classify")
    return {
        "sft": ("sft", *sums),
        "nat": (
            *("nat", "--data", folder / "right.jsonl"),
            *("--model", tiny.causal()),
        ),
        "codistill": ("codistill", *sums, "--teacher", tiny.wide()),
        "distill": ("distill", *sums, "--teacher", tiny.other()),
        "heads": ("heads", "--head", head, "--model", encoder),
        "retriever": (
            *("retriever", "--data", folder / "lists.jsonl"),
            *("--model", encoder),
        ),
    }


NAMES = ("sft", "nat", "codistill", "distill", "heads", "retriever")


def kept(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_is_nan_ends_every_training(tmp_path, monkeypatch, name):
    assert set(commands(tmp_path)) == set(NAMES)
    words = (*commands(tmp_path)[name], "--output", tmp_path / "out", *FAST)
    code, said = finetune(*words, "--max-steps", "1")
    assert code == 0, said
    before = kept(tmp_path / "out")
    real = Trainer.training_step

    def broken(self, *args, **more):
        loss = real(self, *args, **more)
        return loss * math.nan if self.state.global_step == 1 else loss

    monkeypatch.setattr(Trainer, "training_step", broken)
    code, said = finetune(*words, "--max-steps", "3")
    assert code == 2, said
    assert "step 2 of the training: found a loss of nan" in said
    assert "--learning-rate" in said
    assert kept(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["sft", "retriever", "nat"])
def test_weights_that_are_no_numbers_are_not_kept(tmp_path, monkeypatch, name):
    words = (*commands(tmp_path)[name], "--output", tmp_path / "out", *FAST)
    real = Trainer.training_step

    def broken(self, *args, **more):
        loss = real(self, *args, **more)
        with torch.no_grad():
            next(p for p in self.model.parameters() if p.requires_grad).fill_(
                math.inf
            )
        return loss

    monkeypatch.setattr(Trainer, "training_step", broken)
    code, said = finetune(*words, "--max-steps", "1")
    assert code == 2, said
    assert "step 1 of the training: found a mean loss of" in said
    assert "no finite numbers" in said
    assert not list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_says_its_step(loss):
    with pytest.raises(WrongUse, match="step 7 of the training: found a loss"):
        check_loss(loss, 7)


def test_finite_losses_and_weights_pass():
    check_loss(0.0, 1)
    whole = torch.tensor([1, 2])
    check_weights([("a", torch.ones(2)), ("b", whole)], 1, 0.5)


def test_heads_of_senses_end_so_too(tmp_path, monkeypatch):
    words = [("bank", "shore"), ("bank", "money"), ("coast", "shore")]
    glossary = [
        {"term": term, "sense": sense, "gloss": f"a {sense} {n}"}
        for n, (term, sense) in enumerate(words)
    ]
    write(tmp_path / "senses.jsonl", glossary)
    monkeypatch.setattr(
        senses, "attract_repel", lambda queries, *_: queries.sum() * math.nan
    )
    code, said = finetune(
        *("senses", "--senses", tmp_path / "senses.jsonl"),
        *("--model", tiny.encoder("mlm"), "--output", tmp_path / "out"),
    )
    assert code == 2, said
    assert "step 1 of the training: found a loss of nan" in said
    assert not (tmp_path / "out" / senses.HEADS).exists()


def broken_copy(model, folder, number):
    """A model one of whose weights is such a number."""
    shutil.copytree(model, folder)
    path = folder / "model.safetensors"
    weights = load_file(str(path))
    name = max(weights, key=lambda name: weights[name].numel())
    weights[name].view(-1)[3] = number
    save_file(weights, str(path), {"format": "pt"})
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_model_that_is_broken_is_named_before_any_step(
    tmp_path, name, number
):
    words = [*commands(tmp_path)[name]]
    place = words.index("--model") + 1
    words[place] = broken_copy(words[place], tmp_path / "broken", number)
    out = tmp_path / "out"
    code, said = finetune(*words, "--output", out, *FAST, "--max-steps", "1")
    assert code == 2, said
    assert "the model before the first step: found weights of" in said
    assert "--learning-rate" not in said
    assert not list(out.glob("*.safetensors"))


def test_a_teacher_that_is_broken_blames_no_learning_rate(tmp_path):
    write(tmp_path / "sums.jsonl", SUMS)
    teacher = broken_copy(tiny.other(), tmp_path / "teacher", math.nan)
    code, said = finetune(
        *("distill", "--data", tmp_path / "sums.jsonl"),
        *("--model", tiny.causal(), "--teacher", teacher),
        *("--output", tmp_path / "out", *FAST, "--max-steps", "1"),
    )
    assert code == 2, said
    assert "step 1 of the training: found a loss of nan" in said
    assert "at the teacher where there is one" in said
    assert "--learning-rate" not in said
