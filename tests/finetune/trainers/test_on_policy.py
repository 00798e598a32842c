"""Steps are drawn alike everywhere; texts are written, corrected at their worst place, and corrupted without touching labels."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from finetune.data.tokens import tokenised
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.students.scratch import build
from finetune.trainers.on_policy import Writer, corrupted, worst
from finetune.trainers.on_policy_settings import OnPolicy
from tests.finetune.recipes.test_distill import QUIET, STILL, finetune, made  # noqa: F401 - a fixture

ROWS = [
    {"prompt": "what is 3 ?\n", "completion": "it is 3"},
    {"prompt": "what ?\n", "completion": "3"},
]


@pytest.fixture(scope="module")
def pair():
    """A student, a teacher, their tokenizer and a batch."""
    model, tokenizer = build("scratch:tiny", ["what is 3 ? it"], 0)
    other, _ = build("scratch:tiny", ["what is 3 ? it"], 1)
    for one in (model, other):
        expose_hidden(one.eval())
    found = tokenised(ROWS, tokenizer, where="rows")
    width = max(len(row["input_ids"]) for row in found)
    batch = {
        "input_ids": torch.tensor(
            [
                row["input_ids"] + [1] * (width - len(row["input_ids"]))
                for row in found
            ]
        ),
        "labels": torch.tensor(
            [
                row["labels"] + [-100] * (width - len(row["labels"]))
                for row in found
            ]
        ),
        "attention_mask": torch.tensor(
            [
                [1] * len(row["input_ids"])
                + [0] * (width - len(row["input_ids"]))
                for row in found
            ]
        ),
    }
    return model, other, tokenizer, batch


def test_kinds_of_steps_follow_their_shares_and_schedules():
    constant = Counter(
        OnPolicy(share=0.6).kind(0, step, 1000) for step in range(1000)
    )
    assert constant["write"] == pytest.approx(600, abs=60)
    falling = [
        OnPolicy(share=0.6, schedule="decreasing", replay=9).kind(0, step, 1000)
        for step in range(1000)
    ]
    assert falling[:300].count("write") > 2 * falling[-300:].count("write")
    assert falling.count("replay") == pytest.approx(300, abs=60)
    rising = [
        OnPolicy(share=0.6, schedule="increasing").kind(0, step, 1000)
        for step in range(1000)
    ]
    assert rising[:300].count("write") < rising[-300:].count("write")
    assert "replay" not in rising
    assert {OnPolicy().kind(0, step, 9) for step in range(9)} == {"rows"}


def test_written_batches_keep_their_prompts_and_label_what_was_written(pair):
    model, _, tokenizer, batch = pair
    found = Writer(model, tokenizer, OnPolicy(share=1, new_tokens=5)).write(
        batch
    )
    for row, prompt in zip(
        range(2),
        ((batch["labels"] == -100) & (batch["attention_mask"] == 1))
        .sum(1)
        .tolist(),
        strict=True,
    ):
        assert torch.equal(
            found["input_ids"][row, :prompt], batch["input_ids"][row, :prompt]
        )
        learnt = found["labels"][row] != -100
        assert not learnt[:prompt].any()
        assert 1 <= int(learnt.sum()) <= 5
        assert torch.equal(
            found["labels"][row][learnt], found["input_ids"][row][learnt]
        )
        assert torch.equal(
            learnt | (torch.arange(len(learnt)) < prompt),
            found["attention_mask"][row].bool(),
        )


def test_several_texts_are_written_to_each_prompt(pair):
    model, _, tokenizer, batch = pair
    how = OnPolicy(share=1, new_tokens=6, completions=3, temperature=2.0)
    found = Writer(model, tokenizer, how).write(batch)
    assert len(found["input_ids"]) == 6
    texts = set()
    for number, row in enumerate(found["input_ids"]):
        learnt = found["labels"][number] != -100
        prompt = row[: int(learnt.int().argmax())]
        assert torch.equal(
            prompt, batch["input_ids"][number // 3, : len(prompt)]
        )
        texts.add(tuple(row[learnt].tolist()))
    assert len(texts) > 2


def test_a_text_ends_at_any_end_token(pair, monkeypatch):
    model, _, tokenizer, batch = pair
    monkeypatch.setattr(
        model.generation_config, "eos_token_id", [*range(3, len(tokenizer))]
    )
    how = OnPolicy(share=1, new_tokens=6)
    found = Writer(model, tokenizer, how).write(batch)
    for row, labels in zip(found["input_ids"], found["labels"], strict=True):
        written = row[labels != -100].tolist()
        ends = [token >= 3 or token == tokenizer.eos_token_id for token in written]  # fmt: skip
        assert not any(ends[:-1])
        assert ends[-1] or len(written) == 6


def test_little_mass_leaves_the_likeliest_token_alone(pair):
    model, _, tokenizer, batch = pair
    texts = []
    for more in ({"top_p": 1e-6}, {"min_p": 1.0}):
        how = OnPolicy(share=1, new_tokens=5, completions=2, **more)
        found = Writer(model, tokenizer, how).write(batch)
        texts += [tuple(row.tolist()) for row in found["input_ids"]]
    assert len(set(texts)) == 2


def first_wrong(student_logits, teacher_logits, mask):
    """The definition over whole logits: the largest KL where both favour different tokens."""
    ls, lt = (
        x.double().log_softmax(dim=-1) for x in (student_logits, teacher_logits)
    )
    kl = (lt.exp() * (lt - ls)).sum(dim=-1)
    differs = (ls.argmax(dim=-1) != lt.argmax(dim=-1)) & mask
    best = kl.masked_fill(~differs, -torch.inf)
    return torch.where(differs.any(dim=1), best.argmax(dim=1), -1)


def test_the_worst_place_is_that_of_whole_logits(pair):
    model, other, tokenizer, batch = pair
    with torch.no_grad():
        hidden, theirs = (
            one(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                hidden_only=True,
            )[:, :-1]
            for one in (model, other)
        )
    head, size = head_of(model, len(tokenizer)), len(tokenizer)
    say = lambda places: head_of(other, size).logits(  # noqa: E731
        theirs.reshape(-1, theirs.shape[-1])[places]
    )
    labels = batch["labels"][:, 1:]
    places, tokens = worst(hidden, head, say, labels)
    whole, taught = (
        head.logits(hidden.reshape(-1, hidden.shape[-1])).reshape(2, -1, size),
        head_of(other, size)
        .logits(theirs.reshape(-1, theirs.shape[-1]))
        .reshape(2, -1, size),
    )
    wanted = first_wrong(whole, taught, labels != -100)
    assert torch.where(places >= 0, places - 1, -1).tolist() == wanted.tolist()
    for row, place in enumerate(wanted.tolist()):
        assert int(tokens[row]) == (
            int(taught[row, place].argmax()) if place >= 0 else -1
        )
    same, _ = worst(
        hidden,
        head,
        lambda places: head.logits(
            hidden.reshape(-1, hidden.shape[-1])[places]
        ),
        labels,
    )
    assert same.tolist() == [-1, -1]


def test_corrected_texts_hold_the_teachers_token_at_that_place(pair):
    model, _, tokenizer, batch = pair
    torch.manual_seed(0)
    seen = {}

    def differs(written):
        seen["before"] = written
        first = (written["labels"] != -100).int().argmax(1)
        return first, torch.full_like(first, 7)

    found = Writer(model, tokenizer, OnPolicy(share=1, new_tokens=6)).write(
        batch, differs
    )
    for row in range(2):
        place = int((found["labels"][row] != -100).int().argmax())
        assert int(found["input_ids"][row, place]) == 7
        assert int((found["labels"][row] != -100).sum()) <= 6


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_corruption_changes_learnt_tokens_alone_into_the_students_guesses(
    pair, share
):
    model, _, tokenizer, batch = pair
    with torch.no_grad():
        hidden = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            hidden_only=True,
        )[:, :-1]
        guesses = (
            model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
            )
            .logits[:, :-1]
            .argmax(-1)
        )
    found = corrupted(batch, hidden, head_of(model, len(tokenizer)), share, "x")
    learnt = batch["labels"][:, 1:] != -100
    assert torch.equal(
        found[:, 1:][~learnt], batch["input_ids"][:, 1:][~learnt]
    )
    if share == 1.0:
        assert torch.equal(found[:, 1:][learnt], guesses[learnt])
    if share == 0.0:
        assert torch.equal(found, batch["input_ids"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["--on-policy", "0.9", "--schedule", "decreasing", "--replay", "4"],
        pytest.param(["--on-policy", "1", "--correct"], marks=pytest.mark.long),
        ["--corrupt", "0.3", "--likelihood", "0.5"],
    ],
)
def test_the_command_trains_with_each(made, tmp_path, more):  # noqa: F811
    words = [
        "--data",
        made / "run",
        "--model",
        made / "student",
        "--teacher",
        made / "teacher",
        "--output",
        tmp_path,
        "--new-tokens",
        8,
    ]
    code, said = finetune(
        "distill",
        *words,
        *QUIET,
        "--max-steps",
        5,
        "--learning-rate",
        "1e-3",
        *more,
    )
    assert code == 0, said
    code, said = finetune("distill", *words, *QUIET, *STILL, *more, "--packing")
    assert code == 2
