"""A teacher with a vector a token scores every text of a batch, and a student with one learns it."""

from __future__ import annotations

import pytest
import torch

from finetune.data.query_lists import Listed
from finetune.list_losses.batch_kl import BatchKl
from finetune.scoring.word_scores import WordScorer
from finetune.students.encoders import open_encoder
from finetune.trainers.list_module import ListModule
from finetune.trainers.taught import TaughtPairs, taught_by
from tests import tiny

LISTED = [
    Listed("red pen", ("blue pen", "old house")),
    Listed("new house", ("old house", "tall tree")),
    Listed("small dog", ("big dog",)),
]
MASK = torch.tensor([[True, True], [True, True], [True, False]])


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return open_encoder("multi", tiny.encoder("mlm")).eval()


def test_each_query_meets_every_text_by_its_best_tokens(teacher):
    taught = taught_by("multi", teacher, LISTED, 2)
    rows = torch.tensor([2, 0])
    scores = taught.of(rows, MASK[rows], 20.0)["teacher_scores"]
    assert scores.shape == (2, 2, 2)
    for b, c, n in ((0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)):
        query = teacher.encode_query(LISTED[rows[b]].query)
        text = teacher.encode_document(LISTED[rows[c]].documents[n])
        by_hand = sum(
            max(float(token @ other) for other in text) for token in query
        )
        assert float(scores[b, c, n]) == pytest.approx(by_hand, abs=1e-4)


def test_a_student_of_one_vector_comes_near_to_the_teachers_scores(teacher):
    torch.manual_seed(1)
    student = open_encoder("bi", tiny.encoder("mlm")).train()
    taught = taught_by("multi", teacher, LISTED, 2)
    module = ListModule(
        student, BatchKl(), LISTED, width=2, scale=20.0, taught=taught
    )
    columns = [
        student.preprocess([row.query for row in LISTED]),
        student.preprocess([row.documents[0] for row in LISTED]),
        student.preprocess([row.documents[-1] for row in LISTED]),
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


def test_a_language_model_is_asked_once_about_each_pair_of_a_batch():
    judge = WordScorer(
        model=tiny.causal(),
        template="What is {query} ? it is a {document}",
        words=("red", "old"),
    )
    taught = TaughtPairs(judge, LISTED, 2, ["judgements"])
    rows = torch.tensor([2, 0])
    said = taught.of(rows, MASK[rows], 20.0)
    assert "teacher_features" not in said
    scores = said["teacher_scores"]
    assert scores.shape == (2, 2, 2)
    for b, c, n in ((0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)):
        text = LISTED[rows[c]].documents[n]
        (alone,) = judge.scores([(LISTED[rows[b]].query, text)])
        assert float(scores[b, c, n]) == pytest.approx(alone, abs=1e-4)
    # Two queries, and the three texts of their lists.
    assert len(taught.known) == 6
    again = taught.of(rows, MASK[rows], 20.0)["teacher_scores"]
    assert torch.equal(again, scores)
    assert len(taught.known) == 6
