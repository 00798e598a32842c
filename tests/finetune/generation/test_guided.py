"""Decoding away from another prompt: the formula in float64, and token by token from whole passes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.generation.guided import guided, guided_generate
from finetune.students.load import load_student
from tests import tiny


@given(st.integers(2, 6), st.floats(1, 4), st.integers(0, 99))
def test_it_is_the_formula(words, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = {"dtype": torch.float64, "generator": generator}
    prompt, other = (torch.randn(words, **draw) for _ in range(2))
    shares = prompt.softmax(dim=0), other.softmax(dim=0)
    for word in range(words):
        odds = float(shares[0][word] / shares[1][word])
        wanted = float(shares[1][word]) * odds**scale
        found = float(guided(prompt, other, scale)[word].exp())
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize("scale", [1.0, 1.5, 6.0])
def test_it_is_what_whole_passes_choose(scale):
    model, tokenizer = load_student(tiny.causal())
    model.eval()
    prompt, other = (
        torch.tensor([tokenizer(text)["input_ids"]])
        for text in ("What is it", "it is a big dog")
    )
    wanted = []
    for _ in range(8):
        sides = []
        for start in (prompt, other):
            said = torch.tensor([wanted], dtype=torch.long)
            with torch.no_grad():
                read = model(input_ids=torch.cat([start, said], dim=1))
            sides.append(read.logits[0, -1].double().log_softmax(dim=0))
        aim = sides[1] + scale * (sides[0] - sides[1])
        wanted.append(int(aim.argmax()))
    found = guided_generate(model, prompt, other, scale=scale, most=8)
    assert found == wanted
    end = wanted[2]
    ended = guided_generate(
        model, prompt, other, scale=scale, most=8, ends=[end]
    )
    assert ended == wanted[: wanted.index(end) + 1]
