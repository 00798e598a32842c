"""The gate starts from the base, stays in its range, trains one side at a time, and loads again as it was saved."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from finetune.students.gated import Gated, adapt, set_mode
from finetune.students.load import load_student
from finetune.students.scratch import build
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune


def gated(seed=0):
    torch.manual_seed(seed)
    return Gated(
        nn.Linear(6, 4), r=2, alpha=4, dropout=0.0, bottleneck=8
    ).double()


def randomised():
    part = gated()
    for weight in part.parameters():
        nn.init.normal_(weight, std=0.7)
    return part


def test_training_starts_from_the_base():
    part, x = gated(), torch.randn(3, 6, dtype=torch.float64)
    for mode in ("base", "negative", "both"):
        set_mode(part, mode)
        assert torch.equal(part(x), part.base(x))


def test_it_is_the_formula_on_paper():
    part, x = randomised(), torch.randn(5, 6, dtype=torch.float64)
    for row in x:
        sides = [
            2.0 * adapter[1].weight @ (adapter[0].weight @ row)
            for adapter in (part.positive, part.negative)
        ]
        query = part.query.weight @ row
        affinity = torch.stack(
            [query @ (part.key.weight @ h) / 8 for h in sides]
        )
        share = affinity.softmax(0) + torch.tensor([0.5, -0.5])
        assert 0.5 <= float(share[0]) <= 1.5
        assert -0.5 <= float(share[1]) <= 0.5
        wanted = part.base(row) + sum(
            a * (h + part.value(h)) for a, h in zip(share, sides, strict=True)
        )
        assert torch.allclose(part(row), wanted, atol=1e-12)


def test_one_side_trains_at_a_time():
    model, _ = build("scratch:tiny", ["a b c"], 0)
    assert (
        adapt(
            model,
            targets=("q_proj", "v_proj"),
            r=2,
            alpha=4,
            dropout=0.0,
            bottleneck=8,
        )
        == 4
    )
    for mode, trains in (
        ("negative", {"negative"}),
        ("both", {"positive", "query", "key", "value"}),
    ):
        set_mode(model, mode)
        names = [
            name
            for name, weight in model.named_parameters()
            if weight.requires_grad
        ]
        assert {
            name.split("_proj.")[1].split(".")[0] for name in names
        } == trains


@pytest.mark.slow
def test_the_command_trains_both_stages_and_the_student_loads(tmp_path):
    base = [
        {"prompt": f"what is {n} ?\n", "completion": f"it is {n}"}
        for n in range(20)
    ]
    write(tmp_path / "base.jsonl", base)
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "base.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "base",
        *FAST,
    )
    assert code == 0, said
    rows = [
        {**row, "completion": f"it is {n + k}", "label": not k}
        for n, row in enumerate(base)
        for k in (0, 1)
    ]
    write(tmp_path / "rows.jsonl", rows)
    options = [
        "--model",
        tmp_path / "base",
        "--output",
        tmp_path / "nat",
        *FAST,
    ]
    code, said = finetune("nat", "--data", tmp_path / "rows.jsonl", *options)
    assert code == 0, said
    info = json.loads((tmp_path / "nat" / "train.json").read_text())
    assert info["layers"] == 4
    assert len(info["losses"]) == 2
    weighted = [
        json.loads(line)
        for line in (tmp_path / "nat" / "weighted.jsonl")
        .read_text()
        .splitlines()
    ]
    assert len(weighted) == 20
    assert all(0.5 < row["teacher_weight"] <= 1.5 for row in weighted)
    model, _ = load_student(str(tmp_path / "nat"))
    plain, _ = load_student(str(tmp_path / "base"))
    ids = torch.tensor([[3, 4, 5]])
    assert not torch.allclose(model(ids).logits, plain(ids).logits)
    set_mode(model, "base")
    assert torch.allclose(model(ids).logits, plain(ids).logits)
    code, said = finetune(
        "evaluate",
        "--data",
        write_questions(tmp_path),
        "--model",
        tmp_path / "nat",
        "--output",
        tmp_path / "e",
    )
    assert code == 0, said
    for wrong in (["--targets", "nothing"], ["--lora", "r=4"]):
        code, said = finetune(
            "nat", "--data", tmp_path / "rows.jsonl", *options, *wrong
        )
        assert code == 2, said
    write(tmp_path / "right.jsonl", [row for row in rows if row["label"]])
    code, said = finetune("nat", "--data", tmp_path / "right.jsonl", *options)
    assert code == 2
    assert "no wrong row" in said


def write_questions(folder):
    write(folder / "q.jsonl", [{"prompt": "what is 3 ?\n", "target": "3"}])
    return folder / "q.jsonl"
