"""Teacher-free distillation: the smoothed loss of `finetune sft` is the cross-entropy to a uniform teacher, by hand."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.recipes import sft
from finetune.settings import TrainConfig
from finetune.students.load import load_student
from tests.conftest import write
from tests.finetune.flows.playing import QUICK, base_of

pytestmark = [pytest.mark.slow]

ROWS = [
    {"prompt": "2 + 3 =\n", "completion": "5"},
    {"prompt": "one and two\n", "completion": "make three"},
]


def test_a_uniform_teacher_is_mixed_into_the_labels(tmp_path):
    base = base_of(tmp_path, ROWS, 5)
    config = TrainConfig(
        data=str(write(tmp_path / "rows.jsonl", ROWS[:1])),
        model=base,
        output=tmp_path / "smooth",
        trainer={
            **QUICK,
            "max_steps": 1,
            "label_smoothing_factor": 0.3,
            "disable_tqdm": True,
        },
    )
    told = sft.run(config)["loss"]
    model, tokenizer = load_student(base)
    model.eval()
    text = f"{ROWS[0]['prompt']}{ROWS[0]['completion']}{tokenizer.eos_token}"
    before = len(
        tokenizer(ROWS[0]["prompt"], add_special_tokens=False)["input_ids"]
    )
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        logs = model(input_ids=ids).logits.float().log_softmax(-1)[0]
    losses = [
        -0.7 * logs[place - 1, ids[0, place]] - 0.3 * logs[place - 1].mean()
        for place in range(before, ids.shape[1])
    ]
    assert told == pytest.approx(float(sum(losses) / len(losses)), rel=1e-3)
    assert (
        json.loads((tmp_path / "smooth" / "train.json").read_text())["steps"]
        == 1
    )
