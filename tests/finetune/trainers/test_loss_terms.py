"""Losses with weights: how they are written, how they move, what is refused."""

from __future__ import annotations

import pytest

from finetune.losses.hidden_mse import HiddenMse
from finetune.trainers.loss_terms import SETTINGS, read_terms
from synth.core import registry
from synth.core.errors import WrongUse


def test_no_loss_has_a_parameter_that_a_term_would_take():
    names = registry.built_in("finetune.losses")
    assert len(names) > 20
    for name in names:
        part = registry.find("finetune.losses", name)
        assert not {*registry.parameters(part)} & {*SETTINGS}, name


@pytest.mark.parametrize(
    ("text", "weight", "parameters"),
    [
        ("forward_kl", 1.0, {"temperature": 1.0}),
        ("forward_kl:temperature=2", 1.0, {"temperature": 2.0}),
        ("forward_kl=0.5", 0.5, {"temperature": 1.0}),
        ("forward_kl = 2e-1:temperature=2", 0.2, {"temperature": 2.0}),
        ("finetune.losses.jsd:Jsd=3:beta=0.2", 3.0, {"beta": 0.2}),
        ("finetune.losses.jsd:Jsd:beta=0.2", 1.0, {"beta": 0.2}),
    ],
)
def test_a_term_is_a_name_a_weight_and_parameters(text, weight, parameters):
    (term,) = read_terms([text])
    assert term.weight == weight
    for name, value in parameters.items():
        assert getattr(term.loss, name) == value


def test_layers_are_a_word_or_pairs():
    texts = ["hidden_mse:layers=uniform", "hidden_mse:layers=[1-2,2-4]"]
    one, two = read_terms(texts)
    assert (one.layers, two.layers) == ("uniform", ("1-2", "2-4"))
    assert isinstance(one.loss, HiddenMse)
    assert [one.name, two.name] == ["hidden_mse", "hidden_mse_2"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # At 0, a quarter, a half, three quarters and the end of the training.
        ("jsd=2", [2, 2, 2, 2, 2]),
        ("jsd=2:schedule=linear", [2, 1.5, 1, 0.5, 0]),
        ("jsd=0:schedule=linear,to=4", [0, 1, 2, 3, 4]),
        ("jsd=2:schedule=cosine", [2, 1.7071068, 1, 0.2928932, 0]),
        ("jsd=2:warmup=0.5", [0, 1, 2, 2, 2]),
        ("jsd=2:warmup=0.5,schedule=linear,to=1", [0, 1, 2, 1.5, 1]),
    ],
)
def test_a_weight_moves_over_the_training(text, wanted):
    (term,) = read_terms([text])
    found = [term.weight_at(done / 4) for done in range(5)]
    assert found == pytest.approx(wanted)
    assert term.moves == (len({*wanted}) > 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("forward_kll=1", "Did you mean forward_kl"),
        ("jsd=much", "'much'; wanted a number from 0 on"),
        ("jsd=-1", "-1"),
        ("jsd=inf", "inf"),
        ("jsd=1:schedule=warmup", "warmup=SHARE"),
        ("jsd=1:to=2", "schedule=linear"),
        ("jsd=1:warmup=1", "0 to below 1"),
        ("jsd=1:bta=2", "Did you mean beta"),
        ("jsd=1:schedule", "key=value"),
    ],
)
def test_what_cannot_be_read_is_named(text, says):
    with pytest.raises(WrongUse, match="--loss") as caught:
        read_terms([text])
    assert says in str(caught.value)
