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
    texts = [
        ("What is it", "it is a big dog"),
        ("it", "What"),
        ("the sky is blue and it is big", "a"),
    ]
    pairs = [[tokenizer(text)["input_ids"] for text in pair] for pair in texts]
    wanted = [whole_passes(model, pair, scale, 8) for pair in pairs]
    prompts, others = zip(*pairs, strict=True)
    found = guided_generate(model, prompts, others, scale=scale, most=[8] * 3)
    assert found == wanted
    end = wanted[0][2]
    ended = guided_generate(
        *(model, prompts, others), scale=scale, most=[8, 2, 0], ends=[end]
    )
    assert ended[0] == wanted[0][: wanted[0].index(end) + 1]
    assert ended[1] == wanted[1][: len(ended[1])]
    assert 1 <= len(ended[1]) <= 2
    assert ended[2] == []


def whole_passes(model, pair, scale, most):
    wanted = []
    for _ in range(most):
        sides = []
        for start in pair:
            with torch.no_grad():
                read = model(input_ids=torch.tensor([[*start, *wanted]]))
            sides.append(read.logits[0, -1].double().log_softmax(dim=0))
        aim = sides[1] + scale * (sides[0] - sides[1])
        wanted.append(int(aim.argmax()))
    return wanted
