"""Tokens of a translation are held against the teacher's, the nearest pair first."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.query_lists import Listed
from finetune.students.encoders import open_encoder
from finetune.trainers.token_alignment import TokenAlignment, aligned
from tests import tiny

# What stands first is the other language.
LISTED = [
    Listed("tree small old", ("red pen",)),
    Listed("hat", ("new house",)),
    Listed("pen pen dog", ("big dog",)),
]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_each_token_is_taken_once_the_nearest_pair_first(m, n, seed):
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(m, 4, generator=generator)
    student = torch.randn(n, 4, generator=generator)
    theirs, ours = aligned(teacher, student)
    assert len(theirs) == len(ours) == min(m, n)
    assert len(set(theirs)) == len(set(ours)) == min(m, n)
    cosines = torch.cosine_similarity(teacher[:, None], student[None], dim=-1)
    assert float(cosines[theirs[0], ours[0]]) == pytest.approx(
        float(cosines.max())
    )
    taken = [float(cosines[pair]) for pair in zip(theirs, ours, strict=True)]
    assert taken == sorted(taken, reverse=True)


def test_a_student_learns_the_teachers_tokens_of_a_translation():
    torch.manual_seed(0)
    teacher = open_encoder("multi", tiny.encoder("mlm")).eval()
    torch.manual_seed(1)
    student = open_encoder("multi", tiny.encoder("mlm")).train()
    module = TokenAlignment(student, teacher, LISTED)
    columns = [
        student.preprocess([row.query for row in LISTED]),
        student.preprocess([row.documents[0] for row in LISTED]),
    ]
    moves = torch.optim.Adam(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = module(columns, torch.arange(3))
        moves.zero_grad()
        loss.backward()
        moves.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    # The other language stands where the teacher has its own: the best cosines are near 1.
    student.eval()
    asked = student.encode_query([row.query for row in LISTED])
    texts = teacher.encode_query([row.documents[0] for row in LISTED])
    likeness = student.similarity_pairwise(texts, asked)
    counts = torch.tensor([len(text) for text in texts])
    assert (likeness / counts > 0.9).all()


def test_the_share_weighs_the_two_sides():
    torch.manual_seed(0)
    model = open_encoder("multi", tiny.encoder("mlm")).eval()
    columns = [
        model.preprocess([row.query for row in LISTED]),
        model.preprocess([row.documents[0] for row in LISTED]),
    ]
    rows = torch.arange(3)
    # A model is its own teacher: what it knows is no loss.
    known = TokenAlignment(model, model, LISTED, share=0.0)(columns, rows)
    assert float(known.detach()) == pytest.approx(0.0, abs=1e-6)
    other = TokenAlignment(model, model, LISTED, share=1.0)(columns, rows)
    half = TokenAlignment(model, model, LISTED)(columns, rows)
    assert float(half.detach()) == pytest.approx(float(other.detach()) / 2)
