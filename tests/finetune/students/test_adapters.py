"""Adapters find their base again where both were moved, and say which base is gone."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

ROWS = [
    {"prompt": f"What is {n} + {n} ?", "completion": f" it is {n}"}
    for n in range(4)
]
SHORT = ["--max-steps", "1", "--learning-rate", "1", "--disable-tqdm"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A base and adapters upon it, side by side."""
    lab = tmp_path_factory.mktemp("moved") / "lab"
    shutil.copytree(tiny.causal(), lab / "base")
    data = write(lab / "rows.jsonl", ROWS)
    code, said = finetune(
        *("sft", "--input", data, "--model", lab / "base"),
        *("--output", lab / "adapted", "--lora", "r=4", *SHORT),
    )
    assert code == 0, said
    return lab


def said_by(model):
    """What a student says of two tokens."""
    with torch.no_grad():
        return model(torch.tensor([[3, 4]])).logits


def test_adapters_that_are_moved_with_their_base_find_it(lab, tmp_path):
    before = said_by(load_student(str(lab / "adapted"))[0])
    bare = said_by(load_student(str(lab / "base"))[0])
    assert not torch.equal(before, bare)
    shutil.copytree(lab, tmp_path / "elsewhere")
    shutil.move(lab / "base", tmp_path / "put_by")
    try:
        moved, _ = load_student(str(tmp_path / "elsewhere/adapted"))
        assert torch.equal(said_by(moved), before)
        with pytest.raises(WrongUse) as caught:
            load_student(str(lab / "adapted"))
    finally:
        shutil.move(tmp_path / "put_by", lab / "base")
    assert str(lab / "base") in str(caught.value)
    assert "Put it back" in str(caught.value)


def test_the_record_says_where_the_base_is_from_there(lab):
    record = json.loads((lab / "adapted/train.json").read_text())
    assert record["base"] == "../base"


def test_a_base_of_the_hub_is_asked_for_by_its_name(lab, tmp_path):
    from finetune.students.adapters import base_from, found_base

    assert found_base(tmp_path, "owner/name") == "owner/name"
    write_config = tmp_path / "adapter_config.json"
    write_config.write_text('{"base_model_name_or_path": "owner/name"}')
    assert base_from(tmp_path) == {}
    assert base_from(lab / "base") == {}
