"""What a model's weights are opened in, and how a command says otherwise."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from finetune.cli import main
from finetune.recipes import sft
from finetune.settings import TrainConfig
from finetune.students import number_types
from finetune.students.encoders import open_encoder
from finetune.students.load import load_student
from tests.conftest import write

ROWS = [{"prompt": f"2 + {n} =", "completion": str(2 + n)} for n in range(8)]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A student whose files hold bf16."""
    folder = tmp_path_factory.mktemp("short")
    data = write(folder / "rows.jsonl", ROWS)
    trainer = {"max_steps": 1, "disable_tqdm": True}
    config = TrainConfig(
        data=str(data),
        model="scratch:tiny",
        output=folder / "student",
        trainer=trainer,
    )
    sft.run(config)
    model, tokenizer = load_student(str(folder / "student"))
    model.to(torch.bfloat16).save_pretrained(folder / "bf16")
    tokenizer.save_pretrained(folder / "bf16")
    return str(folder / "bf16"), str(data)


def machine(monkeypatch, *, bf16, gpu=False, kind="x86_64"):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(number_types.platform, "machine", lambda: kind)


@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        ({"bf16": False}, torch.float32),
        ({"bf16": True}, torch.bfloat16),
        ({"bf16": False, "gpu": True}, torch.bfloat16),
        ({"bf16": False, "kind": "arm64"}, torch.bfloat16),
    ],
)
def test_short_floats_are_opened_wide_where_the_cpu_has_none(
    short, monkeypatch, how, dtype
):
    machine(monkeypatch, **how)
    assert load_student(short[0])[0].dtype == dtype
    assert (
        load_student(short[0], {"dtype": "bfloat16"})[0].dtype == torch.bfloat16
    )


@pytest.mark.parametrize("dtype", [None, "auto", "float32"])
def test_a_command_says_otherwise(short, monkeypatch, tmp_path, dtype):
    machine(monkeypatch, bf16=False)
    model, data = short
    line = f"sft --input {data} --model {model} --output {tmp_path / 'o'} --max-steps 1"
    if dtype is not None:
        line += f" --dtype {dtype}"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "o" / "config.json").read_text())
    wanted = "bfloat16" if dtype == "auto" else "float32"
    assert config["dtype"] == wanted


def test_a_student_that_is_made_has_no_other_type(short, tmp_path):
    line = f"sft --input {short[1]} --model scratch:tiny --output {tmp_path / 'o'} --dtype float32"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2
    assert "--dtype" in str(result.output) + str(result.exception)


def test_a_retriever_is_opened_so_too(monkeypatch):
    machine(monkeypatch, bf16=False)
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert open_encoder("bi", name).dtype == torch.float32
    short = open_encoder("bi", name, options={"dtype": "bfloat16"})
    assert next(short.parameters()).dtype == torch.bfloat16
