"""First-order meta-learning against copies of the model that take the steps themselves."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from finetune.data.query_lists import Listed
from finetune.students.encoders import open_encoder
from finetune.trainers.meta_alignment import MetaAlignment
from tests import tiny

LISTED = [
    Listed("red pen", ("blue pen",), task="mono"),
    Listed("new house", ("old house",), task="mono"),
    Listed("small dog", ("big dog",), task="bi"),
    Listed("green hat", ("tall hat",), task="bi"),
    Listed("tall tree", ("old tree",), task="multi"),
    Listed("blue hat", ("red hat",), task="multi"),
]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return open_encoder("bi", tiny.encoder("mlm")).eval()


def features_of(model, module):
    columns = module.columns()
    return [
        model.preprocess(texts)
        for name, texts in columns.items()
        if name != "label"
    ]


def vectors(model, column):
    made = model(dict(column))["sentence_embedding"]
    return torch.nn.functional.normalize(made, dim=-1)


def nce(model, queries, texts):
    scores = 5.0 * vectors(model, queries) @ vectors(model, texts).T
    return torch.nn.functional.cross_entropy(scores, torch.arange(2))


def stepped(model, queries, texts, steps):
    copy = deepcopy(model)
    moves = torch.optim.SGD(copy.parameters(), lr=0.05)
    for _ in range(steps):
        moves.zero_grad()
        nce(copy, queries, texts).backward()
        moves.step()
    copy.zero_grad()
    return copy


@pytest.mark.parametrize("steps", [1, 2])
def test_losses_and_slopes_are_those_of_models_that_took_the_steps(
    model, steps
):
    module = MetaAlignment(
        model, LISTED, scale=5.0, rate=0.05, steps=steps, align=0.5
    )
    features = features_of(model, module)
    found = module(features, torch.arange(2))
    found.backward()
    teacher = stepped(model, *features[:2], steps)
    student = stepped(model, *features[2:4], steps)
    second = nce(teacher, *features[2:4])
    known = torch.cat([vectors(teacher, one) for one in features[2:4]])
    said = torch.cat([vectors(student, one) for one in features[2:4]])
    apart = (said - known.detach()).square().sum(dim=-1).mean()
    third = nce(student, *features[4:]) + 0.5 * apart
    assert float(found.detach()) == pytest.approx(
        float((second + third).detach()), abs=1e-5
    )
    second.backward()
    third.backward()
    sides = zip(
        model.parameters(),
        teacher.parameters(),
        student.parameters(),
        strict=True,
    )
    moved = 0
    for own, first, other in sides:
        if own.grad is None:
            continue
        assert torch.allclose(own.grad, first.grad + other.grad, atol=1e-4)
        moved += 1
    assert moved > 20


def test_stages_of_any_length_stand_side_by_side(model):
    longer = [Listed("old pen", ("tall pen",), task="mono"), *LISTED]
    module = MetaAlignment(model, longer, scale=5.0)
    columns = module.columns()
    assert len(columns["label"]) == 3
    # A shorter stage begins anew.
    assert len(columns["anchor_2"]) == 3
    assert {*columns["anchor_2"]} == {"tall tree", "blue hat"}
    # A text that answers two queries is no negative of either.
    alone = MetaAlignment(model, longer, scale=5.0, align=0.0)
    assert torch.isfinite(alone(features_of(model, alone), torch.arange(3)))


def test_a_stage_of_one_text_is_refused(model):
    with pytest.raises(ValueError, match="one text in all rows of the task mu"):
        MetaAlignment(model, LISTED[:-1], scale=5.0)


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        (LISTED[:4], {}, "mono, bi, not three"),
        (LISTED, {"rate": 0.0}, "rate=0.0"),
        (LISTED, {"steps": 0}, "steps=0"),
    ],
)
def test_what_is_no_stage_or_no_step_is_said(model, rows, more, says):
    with pytest.raises(ValueError, match=says):
        MetaAlignment(model, rows, scale=5.0, **more)
