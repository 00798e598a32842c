"""Chunks of a teacher's texts: cut where a judge is sure, taken where the contexts are alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.generation.chunking import (
    Chunks,
    chunked_generate,
    runs,
    store_of,
)
from finetune.generation.ways import Ways, written
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write


def greedy(model, tokenizer, prompt, most):
    """One token after the other, each by a pass over the whole text."""
    said = []
    while len(said) < most and tokenizer.eos_token_id not in said:
        tokens = torch.tensor([[*prompt, *said]])
        with torch.no_grad():
            said.append(int(model(tokens).logits[0, -1].argmax()))
    return said


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@given(
    st.lists(st.sampled_from([0.1, 0.8, 0.95, 1.0]), max_size=80),
    st.integers(0, 6),
)
def test_runs_are_likely_and_as_long_as_can_be(likely, first):
    found = list(runs(likely, first, 0.9))
    inside = [place for start, stop in found for place in range(start, stop)]
    assert inside == sorted(set(inside))
    for start, stop in found:
        assert 2 <= stop - start <= 32
        assert start >= max(first, 2)
        assert all(one >= 0.9 for one in likely[start:stop])
    # What is left over is unlikely, or alone between unlikely tokens and full runs.
    for place in range(max(first, 2), len(likely) - 1):
        both = {place, place + 1}
        if not both & {*inside}:
            assert min(likely[place], likely[place + 1]) < 0.9


@pytest.fixture
def rows(tmp_path):
    """What the student itself would say: its own chunks change nothing but the number of passes."""
    model, tokenizer = load_student(tiny.causal())
    made = []
    for fact in tiny.FACTS[:4]:
        prompt = f"What is {fact} ?"
        said = greedy(model, tokenizer, ids(tokenizer, prompt), 12)
        completion = tokenizer.decode(said, skip_special_tokens=True)
        made.append({"prompt": prompt, "completion": completion})
    return write(tmp_path / "rows.jsonl", made), made


def test_without_a_near_context_it_is_greedy_decoding(rows):
    model, tokenizer = load_student(tiny.causal())
    chunks = Chunks(data=str(rows[0]), likelihood=0.0, similarity=1.0)
    store = store_of(model, tokenizer, chunks)
    store.similarity = 1.1
    prompt = ids(tokenizer, "a blue pen")
    said = chunked_generate(model, tokenizer, prompt, store, 10)
    assert said == greedy(model, tokenizer, prompt, 10)
    assert store.passes == store.tokens == len(said)


def test_a_known_context_is_written_at_once(rows):
    """By the formula: the entry token is the last one, the key the state before it."""
    model, tokenizer = load_student(tiny.causal())
    prompt = ids(tokenizer, "What is red pen ?")
    text = "a tall tree , big dog"
    made = [{"prompt": "What is red pen ?", "completion": text}]
    data = write(rows[0].parent / "expert.jsonl", made)
    chunks = Chunks(data=str(data), likelihood=0.0, similarity=0.999)
    store = store_of(model, tokenizer, chunks)
    with torch.no_grad():
        hidden = model(
            torch.tensor([prompt]), output_hidden_states=True
        ).hidden_states
    state = hidden[-1][0, -2]
    wanted = [*ids(tokenizer, text), tokenizer.eos_token_id]
    assert store.chunk(prompt[-1], state) == wanted
    assert store.chunk(prompt[-1], -state) == []
    assert store.chunk(prompt[-2] + 1, state) == []
    said = chunked_generate(model, tokenizer, prompt, store, 20)
    assert said == wanted
    assert store.passes == 1
    # No more than is asked for, and the same through the ways of a student.
    assert chunked_generate(model, tokenizer, prompt, store, 3) == wanted[:3]
    ways = Ways(chunks=chunks)
    ways.check(model)
    found = written(model, tokenizer, [prompt], ways=ways, max_new_tokens=20)
    assert found[0].tolist() == wanted


def test_a_teacher_says_what_is_likely(rows):
    model, tokenizer = load_student(tiny.causal())
    with pytest.raises(WrongUse, match="tokens in a row"):
        store_of(model, tokenizer, Chunks(data=str(rows[0]), likelihood=1.0))
    taught = Chunks(data=str(rows[0]), likelihood=1e-6, teacher=tiny.other())
    assert store_of(model, tokenizer, taught).shelves
    with pytest.raises(WrongUse, match="one of them"):
        Ways(chunks=taught, calculator=True).check(model)
    with pytest.raises(WrongUse, match="one of them"):
        Ways(chunks=taught, contrast="x").check(model)


def test_a_row_of_chunks_has_both_texts(tmp_path):
    model, tokenizer = load_student(tiny.causal())
    listed = [
        {"prompt": "What is 1 ?", "completion": "it is a red pen"},
        {"prompt": "What is 2 ?", "completion": None},
    ]
    path = write(tmp_path / "chunks.jsonl", listed)
    chunks = Chunks(data=str(path), likelihood=0.0)
    with pytest.raises(WrongUse, match="row 2: found no prompt or no"):
        store_of(model, tokenizer, chunks)
