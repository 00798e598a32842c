"""A BERT with masks, and the smaller one that is written of it, say the same; transformers opens it alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from finetune.students.gates import Masks
from finetune.students.heads import open_head
from finetune.students.masked_passes import mask_passes, normed, sizes_of
from finetune.students.shrinking import facts, shrunk, write
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import rest_long

IDS = torch.tensor([[2, 5, 6, 7, 3, 0], [2, 9, 10, 3, 0, 0]])
THERE = (IDS != 0).long()


def masked_model(task):
    model, _ = open_head(tiny.encoder(task), task)
    sizes = sizes_of(model, "it")
    return model.eval(), sizes, mask_passes(model, sizes)


def masks_of(seed, attention=(1.0, 0.7), feed=(0.9, 1.0)):
    """Some parts closed, the others open in part."""
    draw = torch.Generator().manual_seed(seed)

    def some(*shape):
        size = torch.rand(*shape, generator=draw)
        return (torch.rand(*shape, generator=draw) > 0.4) * size

    return Masks(
        some(32),
        some(2, 4),
        some(2, 64),
        torch.tensor(attention),
        torch.tensor(feed),
    )


def said(model):
    with torch.no_grad():
        return model(IDS, attention_mask=THERE).logits


@pytest.mark.parametrize("task", ["classify", "tokens"])
def test_open_masks_change_nothing(task):
    model, sizes, masked = masked_model(task)
    plain = said(model)
    masked.now = Masks(
        torch.ones(sizes.hidden),
        torch.ones(2, 4),
        torch.ones(2, 64),
        torch.ones(2),
        torch.ones(2),
    )
    assert torch.allclose(said(model), plain, atol=1e-5)


@pytest.mark.parametrize("task", ["classify", "tokens"])
@given(
    seed=st.integers(0, 99),
    attention=st.tuples(*[st.sampled_from([0.0, 0.6, 1.0])] * 2),
    feed=st.tuples(*[st.sampled_from([0.0, 0.6, 1.0])] * 2),
)
def test_the_smaller_model_says_what_the_masked_one_says(
    task, seed, attention, feed
):
    model, sizes, masked = masked_model(task)
    masked.now = masks_of(seed, attention, feed)
    small = shrunk(model, masked.now, sizes)
    assert torch.allclose(said(small), said(model), atol=1e-5)
    found = facts(small)
    assert found["hidden"] == int((masked.now.hidden > 0).sum())
    for layer in range(2):
        heads = int((masked.now.heads[layer] > 0).sum())
        assert found["heads"][layer] == (heads if attention[layer] else 0)
        units = int((masked.now.units[layer] > 0).sum())
        assert found["units"][layer] == (units if feed[layer] else 0)
    # Whole layers that are closed are gone, with their norms.
    assert found["parameters"] < sum(p.numel() for p in model.parameters())


def test_a_norm_is_over_the_dimensions_that_are_left():
    norm = torch.nn.LayerNorm(6, dtype=torch.float64)
    torch.manual_seed(0)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    states = torch.randn(2, 3, 6, dtype=torch.float64)
    mask = torch.tensor([1.0, 0.0, 0.5, 1.0, 0.0, 1.0], dtype=torch.float64)
    kept = mask.nonzero()[:, 0]
    wanted = torch.nn.functional.layer_norm(
        states[..., kept], [4], norm.weight[kept], norm.bias[kept], norm.eps
    )
    found = normed(norm, states, mask)
    assert torch.allclose(found[..., kept], wanted * mask[kept], atol=1e-12)
    assert not found[..., mask == 0].any()


@pytest.mark.parametrize(
    ("task", "auto"),
    rest_long(
        [
            ("classify", "AutoModelForSequenceClassification"),
            ("tokens", "AutoModelForTokenClassification"),
        ]
    ),
)
@pytest.mark.long
def test_its_folder_is_opened_here_and_by_transformers_alone(
    task, auto, tmp_path
):
    model, sizes, masked = masked_model(task)
    masked.now = masks_of(3, attention=(0.0, 1.0))
    small = shrunk(model, masked.now, sizes)
    write(small, str(tmp_path / "small"))
    opened = getattr(transformers, auto).from_pretrained(tmp_path / "small")
    assert torch.equal(said(opened.eval()), said(small))
    torch.save((IDS, THERE, said(small)), tmp_path / "said.pt")
    code = (
        "import sys, torch, transformers; "
        f"m = transformers.{auto}.from_pretrained(sys.argv[1], trust_remote_code=True); "
        "ids, there, said = torch.load(sys.argv[2]); "
        "found = m.eval()(ids, attention_mask=there).logits; "
        "assert torch.equal(found, said); "
        "assert not any(name.startswith('finetune') for name in sys.modules)"
    )
    words = [sys.executable, "-c", code, tmp_path / "small"]
    done = subprocess.run(
        [*words, tmp_path / "said.pt"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": "",
            "HF_MODULES_CACHE": str(tmp_path / "modules"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_model_of_which_nothing_is_left_is_refused():
    model, sizes, _ = masked_model("classify")
    nothing = masks_of(0)._replace(hidden=torch.zeros(32))
    with pytest.raises(WrongUse, match="no hidden dimension is left"):
        shrunk(model, nothing, sizes)


def test_models_of_another_kind_are_refused():
    from finetune.students.load import load_student

    model, _ = load_student(tiny.causal())
    with pytest.raises(WrongUse, match="a BERT"):
        sizes_of(model, "it")
