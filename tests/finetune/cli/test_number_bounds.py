"""Numbers that a library takes, or fails on much later, are refused where they are said."""

from __future__ import annotations

import pytest

from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

SUMS = [
    {"prompt": f"What is {n} + {n} ?", "completion": f"it is a {fact}"}
    for n, fact in enumerate(tiny.FACTS)
]
CASES = {
    "sft rank": (("sft", "--lora", "r=65"), "a rank up to 64"),
    "sft dropout": (
        ("sft", "--lora", "lora_dropout=1.5"),
        "a number from 0 on, below 1",
    ),
    "sft scale": (("sft", "--lora", "lora_alpha=0"), "a number above 0"),
    "distill rank": (
        ("distill", "--teacher", tiny.other, "--lora", "r=1000000"),
        "a rank up to 64",
    ),
    "nat rank": (("nat", "--r", "65"), "a rank up to 64"),
    "nat scale": (("nat", "--alpha", "0"), "x>0"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_number_beyond_its_range_is_refused(tmp_path, name):
    words, says = CASES[name]
    labelled = [{**row, "label": n % 2 == 0} for n, row in enumerate(SUMS)]
    data = write(tmp_path / "rows.jsonl", labelled)
    said = [word() if callable(word) else word for word in words]
    said += ["--model", tiny.causal(), "--max-steps", "1"]
    code, out = finetune(*said, "--data", data, "--output", tmp_path / "out")
    assert code == 2, out
    assert says in out
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_widest_rank_trains(tmp_path):
    code, said = finetune(
        *("sft", "--data", write(tmp_path / "rows.jsonl", SUMS)),
        *("--model", tiny.causal(), "--output", tmp_path / "out"),
        *("--lora", "r=64,lora_dropout=0.9", "--max-steps", "1"),
    )
    assert code == 0, said
