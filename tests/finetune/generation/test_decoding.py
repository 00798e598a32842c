"""Budget forcing holds its bounds; contrast of 0 is greedy decoding, and candidates are those of the expert."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.generation.decoding import ThinkBudget, contrastive_generate
from finetune.students import scratch

TEXTS = [
    "we think about a long chain of steps and then </think> we say 4",
    "Wait one two three four five",
]


@pytest.fixture(scope="module")
def made():
    model, tokenizer = scratch.build("scratch:tiny", TEXTS, 0)
    return model.eval(), tokenizer


def generate(made, processor, count):
    model, tokenizer = made
    tokens = tokenizer(
        ["we think", "about a long"],
        return_tensors="pt",
        padding=True,
        return_token_type_ids=False,
    )
    out = model.generate(
        **tokens,
        max_new_tokens=count,
        do_sample=False,
        logits_processor=[processor],
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=None,
    )
    return out[:, tokens["input_ids"].shape[1] :].tolist(), tokens[
        "input_ids"
    ].shape[1]


def ids(made, text):
    return made[1](text, add_special_tokens=False)["input_ids"]


def test_thinking_ends_at_the_budget_and_goes_on_behind_it(made):
    end = ids(made, "</think>")
    rows, _ = generate(made, ThinkBudget(end, prompt=3, most=8), 12)
    for row in rows:
        assert row[8 - len(end) : 8] == end
        assert len(row) == 12


class Wants:
    """Makes a model say a token again and again."""

    def __init__(self, token, inner):
        self.token, self.inner = token, inner

    def __call__(self, input_ids, scores):
        scores[:, self.token] += 1000
        return self.inner(input_ids, scores)


def test_thinking_does_not_end_too_early(made):
    end = ids(made, "</think>")
    rows, _ = generate(
        made, Wants(end[-1], ThinkBudget(end, prompt=3, least=6)), 10
    )
    for row in rows:
        assert end[-1] not in row[:6]
        assert row[6] == end[-1]


@pytest.mark.parametrize("options", [{"least": 9, "most": 8}, {"most": 0}])
def test_bounds_that_cannot_hold_are_refused(made, options):
    with pytest.raises(ValueError, match="most must hold the end"):
        ThinkBudget(ids(made, "</think>"), prompt=1, **options)


def test_no_contrast_is_greedy_and_a_strong_one_is_not(made):
    model, tokenizer = made
    expert, amateur = (
        torch.tensor([ids(made, text)])
        for text in ("we think about", "five four Wait")
    )
    greedy = model.generate(
        input_ids=expert,
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=None,
    )
    assert (
        contrastive_generate(model, expert, amateur, beta=0.0, most=12)
        == greedy[0, expert.shape[1] :].tolist()
    )
    assert (
        contrastive_generate(
            model, expert, amateur, beta=5.0, alpha=0.01, most=12
        )
        != greedy[0, expert.shape[1] :].tolist()
    )
    assert (
        contrastive_generate(
            model, expert, amateur, beta=5.0, alpha=1.0, most=12
        )
        == greedy[0, expert.shape[1] :].tolist()
    )
    with pytest.raises(ValueError, match="alpha=0"):
        contrastive_generate(model, expert, amateur, alpha=0)


def test_dropout_is_on_for_the_amateur_alone_and_off_again(made):
    model, _ = made
    prompt = torch.tensor([ids(made, "we think about")])
    torch.manual_seed(0)
    first = contrastive_generate(
        model, prompt, prompt, beta=3.0, alpha=0.001, dropout=0.9, most=12
    )
    torch.manual_seed(1)
    second = contrastive_generate(
        model, prompt, prompt, beta=3.0, alpha=0.001, dropout=0.9, most=12
    )
    assert first != second
    assert not any(part.training for part in model.modules())
    assert contrastive_generate(
        model, prompt, prompt, beta=3.0, most=12
    ) == contrastive_generate(model, prompt, prompt, beta=0.0, most=12)


def say(processor, wanted, count):
    """What is drawn greedily where a model's scores are those of `wanted`, row by row."""
    said = []
    for step in range(count):
        ids = torch.tensor([[0, *said]])
        scores = processor(ids, wanted[step % len(wanted)].clone()[None])
        said.append(int(scores[0].argmax()))
    return said


def first_end(said, end):
    """How many tokens stand up to and with the first end; None without one."""
    return next(
        (
            at + len(end)
            for at in range(len(said))
            if said[at : at + len(end)] == end
        ),
        None,
    )


@given(
    st.sampled_from([[1], [1, 2], [1, 2, 3]]),
    st.sampled_from([[], [4], [4, 5], [4, 5, 6]]),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(0, 10_000),
    st.floats(0, 6),
)
def test_thinking_has_a_length_within_its_bounds_whatever_a_model_likes(
    end, wait, bounds, seed, love
):
    least, more = bounds
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.randn(24, 8, generator=generator)
    wanted[:, end] += love
    most = max(least + more, len(end))
    processor = ThinkBudget(end, prompt=1, least=least, most=most, wait=wait)
    said = say(processor, wanted, most + 3)
    count = first_end(said, end)
    assert count is not None
    assert least <= count <= most


@pytest.mark.parametrize("wait", [[4], [4, 5], [4, 5, 6]])
@pytest.mark.parametrize("end", [[1], [2, 1]])
@pytest.mark.parametrize("least", [4, 5, 6, 7])
def test_a_wait_is_said_in_the_place_of_an_end_that_comes_too_early(
    wait, end, least
):
    class Ends:
        """A model that always goes on towards the end."""

        def __init__(self, inner):
            self.inner = inner

        def __call__(self, ids, scores):
            scores = torch.zeros_like(scores)
            begun = len(end) == 2 and int(ids[0, -1]) == end[0]
            scores[0, end[1] if begun else end[0]] = 9.0
            return self.inner(ids, scores)

    budget = ThinkBudget(end, prompt=1, least=least, wait=wait)
    said = say(Ends(budget), torch.zeros(1, 8), 16)
    count = first_end(said, end)
    assert count >= least
    before = said[: count - len(end)]
    assert 4 in before
    # Each wait is said whole, also the one that begins just before the least.
    for at, token in enumerate(before):
        if token == 4:
            assert said[at : at + len(wait)] == wait


def test_the_chance_of_an_early_end_is_that_of_the_wait():
    scores = torch.tensor([[0.2, 1.5, -0.3, 0.9, 0.1]])
    before = scores[0].softmax(0)
    ids = torch.tensor([[0]])
    after = ThinkBudget([1], prompt=1, least=3, wait=[3])(ids, scores.clone())
    chances = after[0].softmax(0)
    assert float(chances[1]) == 0.0
    assert float(chances[3]) == pytest.approx(float(before[1] + before[3]))
    assert float(chances[0]) == pytest.approx(float(before[0]))
    plain = ThinkBudget([1], prompt=1, least=3)(ids, scores.clone())
    rest = before.clone()
    rest[1] = 0
    assert plain[0].softmax(0).tolist() == pytest.approx(
        (rest / rest.sum()).tolist()
    )
