"""The weighted loss equals the formula on paper in float64; items stay whole; real small trainings with weights and tasks."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.objectives.weighting import (
    bundles,
    read_coefficients,
    weighted_loss,
)
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune

ROWS = st.lists(
    st.tuples(st.floats(0, 9), st.floats(-1, 2), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


def by_hand(rows, coefficients, margin):
    total = 0.0
    for task, coefficient in enumerate(coefficients):
        chosen = [
            weight * (min(loss, margin) if weight < 0 else loss)
            for loss, weight, t in rows
            if t == task
        ]
        total += coefficient * sum(chosen) / len(chosen) if chosen else 0.0
    return total


@given(
    ROWS, st.lists(st.floats(0, 3), min_size=3, max_size=3), st.floats(0.1, 5)
)
def test_it_is_the_formula(rows, coefficients, margin):
    losses, weights = (
        torch.tensor([row[n] for row in rows], dtype=torch.float64)
        for n in (0, 1)
    )
    found = weighted_loss(
        losses,
        weights,
        torch.tensor([row[2] for row in rows]),
        coefficients,
        margin,
    )
    assert float(found) == pytest.approx(
        by_hand(rows, coefficients, margin), abs=1e-9
    )


def test_a_row_of_negative_weight_pushes_until_the_margin_and_no_further():
    losses = torch.tensor([1.0, 5.0], requires_grad=True)
    weighted_loss(
        losses, torch.tensor([-0.5, -0.5]), torch.zeros(2), [1.0], 3.0
    ).backward()
    assert losses.grad.tolist() == [-0.25, 0.0]


def test_long_rationales_do_not_outweigh_labels():
    losses, tasks = (
        torch.tensor([2.0, 1.0, 1.0, 1.0]),
        torch.tensor([0, 1, 1, 1]),
    )
    assert (
        float(weighted_loss(losses, torch.ones(4), tasks, [0.5, 0.5], 3.0))
        == 1.5
    )


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=15)
)
def test_bundles_hold_every_row_once_and_no_task_twice(rows):
    found = bundles([item for item, _ in rows], [task for _, task in rows])
    assert sorted(n for places in found for n in places) == list(
        range(len(rows))
    )
    for places in found:
        assert len({rows[n][0] for n in places}) == 1
        assert len({rows[n][1] for n in places}) == len(places)


def test_coefficients_are_for_every_task():
    assert read_coefficients({}, ["a", "b"]) == [0.5, 0.5]
    assert read_coefficients({"b": 2.0, "a": 0.0}, ["a", "b"]) == [0.0, 2.0]
    with pytest.raises(WrongUse, match="task 'labell'"):
        read_coefficients({"labell": 1.0}, ["label"])
    with pytest.raises(WrongUse, match="none for 'b'"):
        read_coefficients({"a": 1.0}, ["a", "b"])


def multitask(count):
    return [
        {
            "id": str(n),
            "task": task,
            "prompt": f"{task}: what is {n} ?\n",
            "completion": text,
        }
        for n in range(count)
        for task, text in (
            ("label", f"it is {n}"),
            (
                "rationale",
                f"because {n} comes right after the one before it and so on",
            ),
        )
    ]


def test_a_step_has_the_loss_of_the_formula_also_over_accumulated_batches(
    tmp_path,
):
    from datasets import Dataset
    from trl import SFTConfig

    from finetune.objectives.objectives import Weighted
    from finetune.students import scratch
    from finetune.trainers.weighted import WeightedTrainer

    rows = multitask(8)
    model, tokenizer = scratch.build(
        "scratch:tiny", [text for row in rows for text in row.values()], 0
    )
    reference = []
    for row in rows:
        before, whole = (
            tokenizer(text)["input_ids"]
            for text in (row["prompt"], row["prompt"] + row["completion"])
        )
        whole = (
            [*whole, tokenizer.eos_token_id]
            if whole[-1] != tokenizer.eos_token_id
            else whole
        )
        logs = (
            model(input_ids=torch.tensor([whole]))
            .logits[0]
            .double()
            .log_softmax(-1)
        )
        each = [
            -float(logs[at - 1, whole[at]])
            for at in range(len(before), len(whole))
        ]
        reference.append(sum(each) / len(each))
    wanted = 0.7 * sum(reference[::2]) / 8 + 0.3 * sum(reference[1::2]) / 8
    for batch, steps in ((8, 1), (2, 4)):
        args = SFTConfig(
            output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, logging_steps=1, report_to="none",
            use_cpu=True, bf16=False, gradient_checkpointing=False, learning_rate=0.0, disable_tqdm=True, save_strategy="no",
        )  # fmt: skip
        trainer = WeightedTrainer(
            model=model, args=args, train_dataset=Dataset.from_list([{k: row[k] for k in ("prompt", "completion")} for row in rows]),
            processing_class=tokenizer, given={"weights": [1.0] * 16, "task_numbers": [0, 1] * 8, "ids": [row["id"] for row in rows]},
            objective=Weighted(coefficients=[0.7, 0.3]),
        )  # fmt: skip
        assert trainer.train().training_loss == pytest.approx(wanted, abs=1e-4)


@pytest.mark.slow
def test_the_command_weighs_tasks_and_pushes_away_from_wrong_rows(tmp_path):
    write(tmp_path / "tasks.jsonl", multitask(20))
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "tasks.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "a",
        "--coefficients",
        "label=0.9,rationale=0.1",
        *FAST,
    )
    assert code == 0, said
    wrong = [
        {
            "id": str(n),
            "prompt": f"what is {n} ?\n",
            "completion": f"it is {n + k}",
            "label": not k,
            "weight": -0.3 if k else 1.0,
        }
        for n in range(20)
        for k in (0, 1)
    ]
    write(tmp_path / "signed.jsonl", wrong)
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "signed.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "b",
        *FAST,
    )
    assert code == 0, said
    assert (
        json.loads((tmp_path / "b" / "train.json").read_text())["steps"] == 20
    )
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "signed.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "c",
        "--packing",
        *FAST,
    )
    assert code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("kto", []),
        pytest.param(
            "cpo",
            ["--loss-type", "simpo", "--cpo-alpha", "0"],
            marks=pytest.mark.long,
        ),
        pytest.param("orpo", [], marks=pytest.mark.long),
    ],
)
def test_other_preference_methods_train(tmp_path, method, more):
    write(tmp_path / "rows.jsonl", multitask(20))
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "sft",
        *FAST,
    )
    assert code == 0, said
    if method == "kto":
        rows = [
            {
                "prompt": f"label: what is {n} ?\n",
                "completion": f"it is {n + k}",
                "label": not k,
            }
            for n in range(20)
            for k in (0, 1)
        ]
    else:
        rows = [
            {
                "prompt": f"label: what is {n} ?\n",
                "chosen": f"it is {n}",
                "rejected": f"it is {n + 1}",
            }
            for n in range(20)
        ]
    write(tmp_path / "pairs.jsonl", rows)

    code, said = finetune(
        method,
        "--data",
        tmp_path / "pairs.jsonl",
        "--model",
        tmp_path / "sft",
        "--output",
        tmp_path / method,
        *FAST,
        *more,
    )
    assert code == 0, said
    assert "20 steps" in said
