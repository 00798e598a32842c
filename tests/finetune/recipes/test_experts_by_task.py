"""Experts by task: the plain model of a task says what the mixture says, tasks that contradict each other are both learnt."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.students.load import load_student
from finetune.students.task_experts import (
    add_experts,
    balance,
    experts_of,
    plain,
)
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

# Nothing in a prompt says which task it is of.
ROWS = [
    {"prompt": f"What is {fact} ?", "completion": f" {fact.split()[n]}", "task": task}
    for n, task in enumerate(("first", "second"))
    for fact in tiny.FACTS
]  # fmt: skip


@settings(max_examples=8)
@given(st.integers(0, 99), st.integers(1, 3), st.integers(0, 2))
def test_the_plain_model_of_a_task_says_the_same(seed, chosen, task):
    model, _ = load_student(tiny.causal())
    ids = torch.tensor([[5, 7, 9, 11]])
    before = model(ids).logits
    torch.manual_seed(seed)
    route = add_experts(model, tasks=3, experts=4, chosen=chosen)
    route.task = task
    assert torch.allclose(model(ids).logits, before, atol=1e-4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    made = plain(model, task)
    assert not experts_of(made)
    assert made.config.intermediate_size == 128 * chosen
    with torch.no_grad():
        assert torch.allclose(made(ids).logits, model(ids).logits, atol=1e-4)


@given(st.integers(0, 999), st.integers(1, 4))
def test_balance_is_one_where_all_experts_serve_alike(seed, chosen):
    torch.manual_seed(seed)
    gates = torch.randn(5, 4, dtype=torch.float64)
    chances = gates.softmax(-1)
    total = 0.0
    for expert in range(4):
        picked = [
            expert in sorted(range(4), key=lambda e: -float(row[e]))[:chosen]
            for row in chances
        ]
        total += sum(picked) / 5 / chosen * float(chances[:, expert].mean())
    assert float(balance(gates, chosen)) == pytest.approx(4 * total)
    # Each task its own expert, and sure of it.
    sure = 9 * torch.eye(4, dtype=torch.float64)
    assert float(balance(sure, 1)) == pytest.approx(1.0, abs=1e-3)
    # All tasks the same one.
    assert float(balance(sure[:1].repeat(4, 1), 1)) == pytest.approx(4, abs=0.1)


def test_a_choice_of_one_expert_has_a_gradient():
    model, _ = load_student(tiny.causal())
    add_experts(model, tasks=2, experts=3, chosen=1)
    ids = torch.tensor([[5, 7, 9]])
    model(ids, labels=ids).loss.backward()
    gates = experts_of(model)[0].gates.grad
    assert gates[0].abs().sum() > 0
    assert gates[1].abs().sum() == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


def learnt(command, data, out, *more, model=None, steps=60):
    words = [
        command,
        "--input",
        data,
        "--model",
        model or tiny.causal(),
        "--output",
        out,
    ]
    words += [*QUIET, "--learning-rate", "3e-3", "--max-steps", steps, *more]
    code, said = finetune(*words)
    assert code == 0, said
    return json.loads((out / "train.json").read_text())


@pytest.mark.long
def test_tasks_that_contradict_each_other_are_both_learnt(data, tmp_path):
    """A plain student can do one of the two at most; a student of one task's experts learns that one."""
    info = learnt("experts", data, tmp_path / "m")
    assert info["tasks"] == ["first", "second"]
    routes = json.loads((tmp_path / "m" / "experts.json").read_text())
    assert len(routes["first"]) == 2
    assert sum(routes["first"][0].values()) == pytest.approx(1, abs=1e-3)
    held = {
        n: write(
            tmp_path / f"{n}.jsonl",
            [{**r, "target": r["completion"].strip()} for r in ROWS if r["task"] == n],
        )
        for n in ("first", "second")
    }  # fmt: skip
    bare = {
        n: write(
            tmp_path / f"{n}_rows.jsonl",
            [{k: r[k] for k in ("prompt", "completion")} for r in ROWS if r["task"] == n],
        )
        for n in ("first", "second")
    }  # fmt: skip

    def right(model, task):
        code, said = finetune(
            "evaluate", "--input", held[task], "--model", model, "--parser", "whole:into=answer",
            "--max-new-tokens", 4, "--output", tmp_path / "o",
        )  # fmt: skip
        assert code == 0, said
        found = json.loads((tmp_path / "o" / "evaluation.json").read_text())
        return found["exact_match"]["share"]

    found = {task: right(tmp_path / "m" / task, task) for task in held}
    assert found == {"first": 1.0, "second": 1.0}
    learnt("sft", data, tmp_path / "d")
    dense = [right(tmp_path / "d", task) for task in held]
    assert sum(dense) <= 1.0
    learnt(
        "distill", bare["second"], tmp_path / "s",
        "--teacher", tmp_path / "m" / "second",
    )  # fmt: skip
    assert right(tmp_path / "s", "second") == 1.0


@pytest.mark.slow
def test_a_batch_reads_the_experts_of_its_task(data, tmp_path):
    info = learnt("experts", data, tmp_path / "m", "--chosen", 1, steps=2)
    assert info["trainable"] == info["parameters"] > 200_000
    for task in ("first", "second"):
        model, _ = load_student(str(tmp_path / "m" / task))
        assert model.config.intermediate_size == 128


@pytest.mark.parametrize(
    ("rows", "words", "says"),
    [
        ([{"prompt": "a", "completion": "b"}], [], "0 tasks"),
        ([{"prompt": "a", "completion": "b", "task": "../x"}], [], "'../x'"),
        (ROWS, ["--chosen", 9], "--experts 4"),
        (ROWS, ["--lora"], "--lora"),
    ],
)
def test_what_has_no_experts_is_refused(tmp_path, rows, words, says):
    data = write(tmp_path / "rows.jsonl", rows)
    code, said = finetune(
        "experts", "--input", data, "--model", tiny.causal(), "--output", tmp_path / "m", *words
    )  # fmt: skip
    assert (code, says in said) == (2, True), said


def test_layers_of_another_form_are_refused():
    import transformers

    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9)
    )
    with pytest.raises(WrongUse, match="gate_proj"):
        add_experts(model, tasks=2, experts=2, chosen=1)
