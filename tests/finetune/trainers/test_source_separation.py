"""What translations share: the bound by hand and in float64, and who learns from what."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from finetune.students.encoders import open_encoder
from finetune.students.pair_parts import add_mean
from finetune.trainers.source_separation import Gaussian, SourceSeparation
from finetune.trainers.text_decoder import TextDecoder
from tests import tiny

TEXTS = ["red pen", "old house tall", "dog"]
OTHERS = ["blue pen", "new house", "big big hat"]


def columns(model):
    return [model.preprocess(TEXTS), model.preprocess(OTHERS)]


def separation(**more):
    torch.manual_seed(0)
    model = open_encoder("bi", tiny.encoder("mlm"))
    add_mean(model, None)
    return model, SourceSeparation(model, language=4, **more).eval()


def bias(layer, value):
    """Makes a layer say one number whatever it reads."""
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(layer.bias, value)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_the_divergence_is_the_formula(batch, width, seed):
    torch.manual_seed(seed)
    mean = torch.randn(batch, width, dtype=torch.float64)
    log_variance = torch.randn(batch, width, dtype=torch.float64)
    theirs = kl_divergence(
        Normal(mean, (log_variance / 2).exp()),
        Normal(torch.zeros_like(mean), torch.ones_like(mean)),
    ).sum(dim=1)
    torch.testing.assert_close(Gaussian(mean, log_variance).kl(), theirs)


def test_draws_have_the_mean_and_the_variance():
    torch.manual_seed(0)
    mean = torch.tensor([[2.0, -1.0]]).expand(20_000, 2)
    log_variance = torch.tensor([[math.log(4.0), 0.0]]).expand(20_000, 2)
    drawn = Gaussian(mean, log_variance).drawn()
    assert drawn.mean(dim=0).tolist() == pytest.approx([2, -1], abs=0.06)
    assert drawn.var(dim=0).tolist() == pytest.approx([4, 1], abs=0.15)


def test_the_decoder_is_a_cross_entropy_over_words_one_after_another():
    torch.manual_seed(0)
    decoder = TextDecoder(5, 3, 2, 0.0).double()
    vectors = torch.randn(5, 3, dtype=torch.float64)
    latent = torch.randn(1, 2, dtype=torch.float64)
    ids = torch.tensor([[4, 1, 2]])
    mask = torch.tensor([[1, 1, 0]])
    surprise = 0.0
    state = torch.zeros(1, 1, 3, dtype=torch.float64)
    before = decoder.start
    for word in (4, 1):
        read = torch.cat([before, latent[0]])[None, None]
        _, state = decoder.reader(read, state)
        aim = decoder.last(torch.cat([state[0, 0], latent[0]]))
        logits = vectors @ aim + decoder.bias
        surprise -= float(torch.log_softmax(logits, dim=0)[word].detach())
        before = vectors[word]
    found = decoder(ids, mask, latent, vectors)
    assert float(found.detach()) == pytest.approx(surprise, abs=1e-12)


def test_the_bound_is_what_it_is_by_hand():
    model, module = separation(weight=0.5)
    mean = list(model)[-1].linear
    # All distributions are known: s has the mean 1 and the variance 1 in each of 32 numbers, the
    # languages have the mean 0 and the variance e^2 in each of 4.
    bias(mean, 1.0)
    bias(module.variance, 0.0)
    bias(module.language_mean, 0.0)
    bias(module.language_variance, 2.0)
    # Each word is as likely as any other.
    bias(module.decoder.last, 0.0)
    words = len(model.tokenizer)
    tokens = sum(int(side["attention_mask"].sum()) for side in columns(model))
    surprise = tokens * math.log(words) / len(TEXTS)
    semantic = 32 * 0.5
    language = 4 * (math.exp(2) - 1 - 2) / 2
    loss = float(module(columns(model), None).detach())
    wanted = surprise + 0.5 * (semantic + 2 * language)
    assert loss == pytest.approx(wanted, rel=1e-5)


def test_the_semantic_vector_comes_from_either_text():
    one = Gaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    two = Gaussian(torch.ones(2, 3), torch.full((2, 3), 2.0))
    mixed = one.where(torch.tensor([True, False]), two)
    assert mixed.mean[:, 0].tolist() == [0, 1]
    assert mixed.log_variance[:, 0].tolist() == [0, 2]


def test_the_weight_rises_in_equal_steps_while_it_learns():
    _, module = separation(weight=2.0, warmup=4)
    assert module._next_weight() == 2.0
    module.train()
    found = [module._next_weight() for _ in range(5)]
    assert found == [0.5, 1.0, 1.5, 2.0, 2.0]


def test_padding_is_no_part_of_a_text():
    torch.manual_seed(0)
    decoder = TextDecoder(5, 3, 2, 0.0)
    vectors = torch.randn(5, 3)
    latent = torch.randn(1, 2)
    alone = decoder(torch.tensor([[4, 1]]), torch.ones(1, 2), latent, vectors)
    padded = decoder(
        torch.tensor([[4, 1, 0, 0]]),
        torch.tensor([[1, 1, 0, 0]]),
        latent,
        vectors,
    )
    torch.testing.assert_close(alone, padded)


def test_words_are_hidden_while_it_learns_alone():
    torch.manual_seed(0)
    decoder = TextDecoder(5, 3, 2, 0.5)
    words = torch.ones(1, 2001, 3)
    assert bool((decoder.eval()._before(words)[0, 1:] == 1).all())
    seen = (decoder.train()._before(words)[0, 1:, 0] == 1).float()
    assert float(seen.mean()) == pytest.approx(0.5, abs=0.05)


def test_the_encoder_of_languages_is_another_one():
    model, module = separation()
    module.train()
    module(columns(model), None).backward()
    ours = {id(weight) for weight in model.parameters()}
    theirs = [
        weight
        for weight in module.languages.parameters()
        if weight.grad is not None
    ]
    assert theirs
    assert not ours & {id(weight) for weight in theirs}
    assert all(
        weight.grad is not None for weight in list(model)[-1].parameters()
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weight": -1}, "weight=-1, which is below 0"),
        ({"weight": "x"}, "weight=x, which is no number"),
        ({"hidden": 1}, "hidden=1, which is not from 0 to below 1"),
        ({"warmup": -1}, "warmup=-1, which is no whole number from 0"),
        ({"language": 0}, "language=0, which is no whole number from 1"),
    ],
)
def test_wrong_parameters_are_named(wrong, said):
    model = open_encoder("bi", tiny.encoder("mlm"))
    with pytest.raises(ValueError, match=said):
        SourceSeparation(model, **wrong)


def test_the_mean_begins_as_the_vector_and_is_there_once():
    model = open_encoder("bi", tiny.encoder("mlm"))
    before = model.encode(TEXTS)
    add_mean(model, None)
    parts = len(model)
    assert model.encode(TEXTS) == pytest.approx(before, abs=1e-5)
    add_mean(model, None)
    assert len(model) == parts
    add_mean(model, 8)
    assert model.encode(TEXTS).shape == (3, 8)
