"""Numbers of rows that would make a loss infinite are named with row and column, before a step; and
a loss that is none all the same names what was large in its batch.
"""

from __future__ import annotations

import math

import pytest
import torch

from finetune.data.query_lists import read
from finetune.data.row_numbers import LARGEST
from finetune.data.rows import weighting
from finetune.students.finite import check_loss
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

HUGE = (1e30, -1e30, 10**400, math.inf, math.nan)
FAST = ("--disable-tqdm", "--max-steps", "2", "--learning-rate", "1e-3")


@pytest.mark.parametrize("number", HUGE)
def test_a_score_is_refused(number):
    row = {"query": "q", "documents": ["a", "b"], "scores": [1.0, number]}
    with pytest.raises(WrongUse, match=r"at most 1e\+09 on both sides of 0"):
        list(read(row, "row 1"))


@pytest.mark.parametrize("weight", [1e30, -1e10])
def test_a_weight_is_refused_with_its_row(tmp_path, weight):
    rows = [
        {"prompt": "a", "completion": "b", "weight": w} for w in (1, weight)
    ]
    write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(
        WrongUse,
        match=r"row 2: found weight = .*; wanted .* Th.* would overflow",
    ):
        weighting(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("name", ["weight", "margin"])
def test_a_student_learns_from_the_largest_and_no_other(tmp_path, name):
    fields = {"weight": ("completion",), "margin": ("chosen", "rejected")}[name]
    command = {"weight": "sft", "margin": "rank"}[name]

    def train(number):
        rows = [
            {
                "prompt": f"What is {n} ?",
                **{field: f"{field} {n}" for field in fields},
                name: number,
            }
            for n in range(4)
        ]
        write(tmp_path / "rows.jsonl", rows)
        return finetune(
            *(command, "--data", tmp_path / "rows.jsonl", *FAST),
            *("--model", tiny.causal(), "--output", tmp_path / "out"),
        )

    code, said = train(LARGEST)
    assert code == 0, said
    code, said = train(LARGEST * 10)
    assert code == 2, said
    assert f"row 1: found {name} = 10000000000.0" in said
    assert "learning" not in said


def test_a_loss_names_what_was_large_in_its_batch():
    batch = {
        "input_ids": torch.tensor([[10**6]]),
        "weights": torch.tensor([1.0, 3e8]),
        "scores": torch.tensor([0.5]),
    }
    with pytest.raises(
        WrongUse,
        match=r"with weights as far as 3e\+08 in the batch.*Look at the",
    ):
        check_loss(math.inf, 2, batch)
    with pytest.raises(
        WrongUse, match=r"a loss of nan; .*Lower --learning-rate"
    ):
        check_loss(math.nan, 2, {"scores": torch.tensor([0.5])})
