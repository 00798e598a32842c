"""Teachers are opened as they are told: types, devices, attention, GGUF files; what cannot be here is refused before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from examples.real import models
from finetune.students.load import load_tokenizer
from finetune.teachers.in_process import ModelTeacher
from finetune.teachers.opened_settings import Opening
from synth.core.errors import WrongUse
from tests import tiny

BATCH = {"input_ids": torch.tensor([[5, 9, 12, 7]])}
PLACES = torch.tensor([0, 2])


@pytest.fixture(scope="module")
def plain():
    tokenizer = load_tokenizer(tiny.causal())
    teacher = ModelTeacher(tiny.other(), tokenizer, device="cpu")
    return tokenizer, teacher.says(BATCH)(PLACES)


@pytest.mark.parametrize(
    "opening",
    [
        Opening(device="auto"),
        Opening(device="cpu", dtype="float32"),
        Opening(attention="eager"),
    ],
)
def test_it_says_the_same_however_it_is_opened(plain, opening):
    tokenizer, wanted = plain
    teacher = ModelTeacher(
        tiny.other(), tokenizer, device="cpu", opening=opening
    )
    assert torch.allclose(teacher.says(BATCH)(PLACES), wanted, atol=1e-5)
    assert not any(one.requires_grad for one in teacher.model.parameters())


def test_settings_reach_the_model(plain):
    tokenizer, wanted = plain
    opening = Opening(dtype="bfloat16", attention="eager", device="auto")
    teacher = ModelTeacher(
        tiny.other(), tokenizer, device="cpu", opening=opening
    )
    assert teacher.model.dtype == torch.bfloat16
    assert teacher.model.config._attn_implementation == "eager"
    assert not torch.equal(teacher.says(BATCH)(PLACES).float(), wanted)


@pytest.mark.parametrize(
    "opening",
    [
        Opening(dtype="float17"),
        Opening(attention="none_such"),
        Opening(gguf="none.gguf"),
    ],
)
def test_what_cannot_be_opened_is_a_mistake_of_the_call(plain, opening):
    with pytest.raises(WrongUse, match="no model"):
        ModelTeacher(tiny.other(), plain[0], device="cpu", opening=opening)


def test_rounding_needs_its_package(monkeypatch):
    with pytest.raises(WrongUse, match="rounded already"):
        Opening(bits=4, gguf="a.gguf").check()
    monkeypatch.setattr(
        "finetune.core.rounded_weights.find_spec", lambda _: None
    )
    with pytest.raises(WrongUse, match="pip install bitsandbytes"):
        Opening(bits=8).check()
    Opening(device="auto").check()


def test_rounding_is_asked_for_as_the_library_has_it():
    if find_spec("bitsandbytes") is None:
        pytest.skip("no bitsandbytes on this machine")
    options = Opening(bits=4).options("cuda:0")
    assert options["device_map"] == "cuda:0"
    assert options["quantization_config"].load_in_4bit


FOLDER = models.MODELS["smollm2-135m"].path.with_suffix("")


@pytest.mark.long
@pytest.mark.skipif(
    not (FOLDER / "config.json").is_file(),
    reason="no SmolLM2-135M on this machine",
)
def test_a_gguf_file_says_what_its_weights_say():
    gguf = models.MODELS["smollm2-135m"].path
    tokenizer = load_tokenizer(str(FOLDER))
    said = []
    for path, opening in (
        (FOLDER, Opening(dtype="float32")),
        (gguf.parent, Opening(dtype="float32", gguf=gguf.name)),
    ):
        teacher = ModelTeacher(
            str(path), tokenizer, device="cpu", opening=opening
        )
        said.append(teacher.says(BATCH)(PLACES))
    assert torch.allclose(*said, atol=1e-3)
