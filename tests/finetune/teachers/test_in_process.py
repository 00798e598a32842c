"""Teachers in this process: their mixture is the mean of probabilities, padding plays no part,
wrong weights are refused.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.tokens import IGNORED
from finetune.losses.base_parts import Sparse
from finetune.teachers.in_process import (
    CacheTeacher,
    ModelTeacher,
    SeveralTeachers,
    label_losses,
    same_tokens,
)
from finetune.teachers.selection import Selection
from synth.core.errors import WrongUse
from tests import tiny


class Says:
    """A teacher with the logits that it was given, [B, T, V]."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def says(self, inputs: Any) -> Any:
        flat = self.logits.reshape(-1, self.logits.shape[-1])
        return lambda positions: flat[positions]


def made(seed: int, rows: int, length: int, teachers: int) -> Any:
    """(teachers, inputs) of random logits, 5 tokens, some labels left out, the first of each row
    in.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, length, 5)
    every = [
        Says(2 * torch.randn(shape, generator=generator, dtype=torch.float64))
        for _ in range(teachers)
    ]
    labels = torch.randint(0, 5, (rows, length + 1), generator=generator)
    left_out = torch.rand(labels.shape, generator=generator) < 0.3
    left_out[:, 1] = False
    labels[left_out] = IGNORED
    return every, {"labels": labels, "input_ids": labels.clamp(min=0)}


CASES = st.tuples(
    st.integers(0, 10_000),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
)


@given(CASES, st.lists(st.floats(0.1, 3), min_size=3, max_size=3))
def test_fixed_weights_give_the_mean_of_the_probabilities(case, weights):
    every, inputs = made(*case)
    own = tuple(weights[: len(every)])
    mixture = SeveralTeachers(every, weights=own)
    count = case[1] * case[2]
    found = mixture.says(inputs)(torch.arange(count)).softmax(-1)
    wanted = sum(
        weight * teacher.logits.reshape(count, 5).softmax(-1)
        for weight, teacher in zip(own, every, strict=True)
    ) / sum(own)
    assert torch.allclose(found.double(), wanted, atol=1e-6)


@given(CASES)
def test_agreement_weighs_each_teacher_by_its_likelihood_of_the_row(case):
    every, inputs = made(*case)
    mixture = SeveralTeachers(every, weigh="agreement")
    _, rows, length, _ = case
    found = mixture.says(inputs)(torch.arange(rows * length)).softmax(-1)
    for row in range(rows):
        labels = inputs["labels"][row, 1:].tolist()
        weights = []
        for teacher in every:
            logs = teacher.logits[row].log_softmax(-1)
            learnt = [
                float(logs[place, label])
                for place, label in enumerate(labels)
                if label != IGNORED
            ]
            weights.append(torch.tensor(sum(learnt) / len(learnt)).exp())
        for place in range(length):
            wanted = sum(
                weight * teacher.logits[row, place].softmax(-1)
                for weight, teacher in zip(weights, every, strict=True)
            ) / sum(weights)
            at = row * length + place
            assert torch.allclose(found[at].double(), wanted, atol=1e-5)


class Notes(Selection):
    """Writes down the features that it is asked about."""

    def choose(
        self, losses: torch.Tensor, spreads: torch.Tensor
    ) -> torch.Tensor:
        self.seen = (losses, spreads)
        return super().choose(losses, spreads)


@given(CASES, st.integers(1, 6))
def test_a_row_is_the_same_to_a_policy_however_long_its_company_is(
    case, missing
):
    every, inputs = made(*case)
    rows = case[1]

    def seen(teachers: Any, given_inputs: Any) -> Any:
        mixture = SeveralTeachers(teachers, weigh="reinforced")
        mixture.selection = Notes(len(teachers))
        mixture.says(given_inputs)
        return mixture.selection.seen

    losses, spreads = seen(every, inputs)
    assert torch.isfinite(spreads).all()
    padded = [
        Says(torch.cat([t.logits, torch.zeros(rows, missing, 5)], dim=1))
        for t in every
    ]
    more = torch.full((rows, missing), IGNORED)
    longer = {"labels": torch.cat([inputs["labels"], more], dim=1)}
    losses_then, spreads_then = seen(padded, longer)
    assert torch.allclose(losses, losses_then)
    assert torch.allclose(spreads, spreads_then)
    # By the library, from the labels that count.
    for row in range(rows):
        mask = inputs["labels"][row, 1:] != IGNORED
        for number, teacher in enumerate(every):
            logs = teacher.logits[row].log_softmax(-1)
            labels = inputs["labels"][row, 1:].clamp(min=0)
            own = -logs.gather(1, labels[:, None])[:, 0][mask]
            wanted = own.std() if len(own) > 1 else torch.tensor(0.0)
            assert float(spreads[row, number]) == pytest.approx(
                float(wanted), abs=1e-4
            )


def test_a_policy_learns_from_rows_of_one_label_without_losing_its_numbers():
    every, inputs = made(0, 2, 1, 2)
    mixture = SeveralTeachers(every, weigh="reinforced")
    for loss in (1.0, 0.5, 2.0):
        mixture.says(inputs)
        mixture.learn(loss)
    assert torch.isfinite(mixture.selection.weights).all()
    assert mixture.selection.weights.abs().sum() > 0


@pytest.mark.parametrize(
    "weights",
    [(1.0,), (1.0, 2.0, 3.0), (1.0, -1.0), (0.0, 0.0), (1.0, float("nan"))],
)
def test_weights_that_are_none_of_these_teachers_are_refused(weights):
    every, _ = made(0, 1, 1, 2)
    with pytest.raises(WrongUse, match="2 numbers from 0 on") as caught:
        SeveralTeachers(every, weights=weights)
    assert str(list(weights)) in str(caught.value)


@given(CASES)
def test_losses_of_labels_are_those_of_torch_and_0_where_there_is_none(case):
    (teacher, *_), inputs = made(*case)
    labels = inputs["labels"][:, 1:]
    found = label_losses(teacher.says(inputs), labels, rows=2)
    wanted = torch.nn.functional.cross_entropy(
        teacher.logits.transpose(1, 2),
        labels,
        ignore_index=IGNORED,
        reduction="none",
    )
    assert torch.allclose(found.double(), wanted, atol=1e-5)


def test_a_model_says_its_own_logits_whatever_is_padded():
    from finetune.students.load import load_student

    path = tiny.causal()
    model, tokenizer = load_student(path)
    teacher = ModelTeacher(path, tokenizer, device="cpu")
    rows = [tokenizer(text)["input_ids"] for text in ("it is", "What is 3 ?")]
    width = max(map(len, rows))
    ids = torch.tensor([row + [1] * (width - len(row)) for row in rows])
    mask = torch.tensor(
        [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    )
    say = teacher.says({"input_ids": ids, "attention_mask": mask})
    for number, row in enumerate(rows):
        with torch.no_grad():
            wanted = model(torch.tensor([row])).logits[0, :-1]
        places = torch.arange(len(row) - 1) + number * (width - 1)
        found = say(places)
        assert torch.allclose(found, wanted[:, : len(tokenizer)], atol=1e-4)
    assert not any(part.requires_grad for part in teacher.model.parameters())


def test_another_tokenizer_is_refused_with_the_losses_that_take_it():
    from finetune.students.scratch import build_tokenizer

    one = build_tokenizer(["red pen"], 200)
    same_tokens("m", build_tokenizer(["red pen"], 200), one)
    with pytest.raises(WrongUse, match="--loss uld or --loss hybrid"):
        same_tokens("m", build_tokenizer(["blue"], 200), one)


def test_a_cache_of_another_tokenizer_is_refused_and_of_none_missing(tmp_path):
    import numpy as np

    from finetune.data.tokens import fingerprint, vocabulary_digest
    from finetune.students.scratch import build_tokenizer
    from finetune.teachers.cache import About, CacheWriter, Known

    tokenizer = build_tokenizer(["red pen"], 200)
    about = About("t", len(tokenizer), 2, vocabulary_digest(tokenizer))
    ids = [3, 4, 5]
    labels = [IGNORED, 4, 5]
    logs = np.log(np.array([[0.7, 0.2], [0.5, 0.25]], np.float32))
    with CacheWriter(tmp_path, about) as writer:
        entry = Known(np.array([[1, 2], [0, 7]]), logs)
        writer.add(fingerprint(ids, labels), entry)
    teacher = CacheTeacher(str(tmp_path), tokenizer)
    batch = {
        "input_ids": torch.tensor([[*ids, 0]]),
        "labels": torch.tensor([[*labels, IGNORED]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0]]),
    }
    said = teacher.says(batch)(torch.tensor([1, 0]))
    assert isinstance(said, Sparse)
    assert said.ids.tolist() == [[0, 7], [1, 2]]
    assert torch.allclose(
        said.logs.exp(), torch.tensor([[0.5, 0.25], [0.7, 0.2]]), atol=0.02
    )
    batch["input_ids"][0, 2] = 9
    with pytest.raises(WrongUse, match="no row of these 3 tokens"):
        teacher.says(batch)
    with pytest.raises(WrongUse, match="words in another tokenizer"):
        CacheTeacher(str(tmp_path), build_tokenizer(["blue"], 200))
