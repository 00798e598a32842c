"""Sampling of local models: penalties by their formula, banned words never said."""

from __future__ import annotations

import torch

from finetune.generation.sampling import Penalties, banned_ids, options
from finetune.students.load import load_student
from tests import tiny


def test_penalties_count_generated_tokens_alone():
    ids = torch.tensor([[1, 2, 3, 3], [1, 1, 0, 2]])
    found = Penalties(0.5, 0.25, start=1)(ids, torch.zeros(2, 5))
    assert found.tolist() == [
        [0, 0, -0.75, -1.0, 0],
        [-0.75, -0.75, -0.75, 0, 0],
    ]


def test_banned_words_are_never_said_and_penalties_change_what_is():
    model, tokenizer = load_student(tiny.causal())
    prompt = tokenizer(
        "What is 3 + 3 ? it is",
        return_tensors="pt",
        return_token_type_ids=False,
    )

    def said(**body):
        given = options(
            {"temperature": 0, "max_tokens": 20, **body},
            tokenizer,
            prompt["input_ids"].shape[1],
        )
        return tokenizer.decode(
            model.generate(**prompt, **given)[0][prompt["input_ids"].shape[1] :]
        ).split()

    free = said()
    word = max(set(free), key=free.count)
    assert word not in said(bad_words=[word])
    assert len(set(said(frequency_penalty=2.0, presence_penalty=2.0))) > len(
        set(free)
    )
    assert (
        options(
            {"temperature": 1, "top_k": 5, "repetition_penalty": 1.2},
            tokenizer,
            1,
        )["top_k"]
        == 5
    )


def test_words_are_banned_as_they_stand_in_texts():
    _, tokenizer = load_student(tiny.causal())
    ids = banned_ids(["what"], tokenizer)
    assert ids
    assert all(isinstance(token, int) for found in ids for token in found)
    assert banned_ids([], tokenizer) == []
