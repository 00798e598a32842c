"""What `adaptive_layer` reads of each layer, in float64: its states, unless a vector is made of several
layers.
"""

from __future__ import annotations

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import (
    AdaptiveLayerLoss,
    MultipleNegativesRankingLoss,
)

from finetune.students.encoders import open_encoder
from finetune.students.pair_parts import pool
from finetune.trainers.library_losses import made
from synth.core.errors import WrongUse
from tests import tiny

TEXTS = (["a red pen", "an old house"], ["the red pen", "the house"])
SCALE = 20.0


@pytest.fixture
def encoder():
    return open_encoder("bi", tiny.encoder("mlm", layers=3)).double().eval()


def batch(model):
    return [model.preprocess(list(texts)) for texts in TEXTS]


def by_hand(model, layer):
    """InfoNCE of the means over the tokens of a layer's states."""
    units = []
    for features in batch(model):
        read = {
            name: features[name] for name in ("input_ids", "attention_mask")
        }
        output = model[0].model(**read, output_hidden_states=True)
        mask = features["attention_mask"][..., None].double()
        states = output.hidden_states[layer]
        mean = (states * mask).sum(1) / mask.sum(1)
        units.append(torch.nn.functional.normalize(mean, dim=-1))
    scores = SCALE * units[0] @ units[1].T
    return float(torch.nn.functional.cross_entropy(scores, torch.arange(2)))


def adaptive(model):
    """The loss of the library over all layers, without its term of likeness."""
    inner = MultipleNegativesRankingLoss(model, scale=SCALE)
    loss = AdaptiveLayerLoss(
        model, inner, n_layers_per_step=-1, kl_temperature=0
    )
    return float(loss(batch(model), torch.zeros(2)))


def test_each_layer_is_read_where_a_vector_is_made_of_one(encoder):
    with torch.no_grad():
        last = by_hand(encoder, 3)
        lower = [by_hand(encoder, layer) for layer in range(3)]
        wanted = last + sum(lower) / 3
        assert adaptive(encoder) == pytest.approx(wanted, abs=1e-9)
    assert len({round(one, 6) for one in (last, *lower)}) == 4


@pytest.mark.parametrize("how", ["weighted", "joined"])
def test_one_of_several_layers_is_the_same_for_each_and_refused(encoder, how):
    pool(encoder, how)
    encoder.double()
    with torch.no_grad():
        inner = MultipleNegativesRankingLoss(encoder, scale=SCALE)
        whole = float(inner(batch(encoder), torch.zeros(2)))
        # The mean over the lower layers is the whole once more.
        assert adaptive(encoder) == pytest.approx(2 * whole, abs=1e-9)
    for name in ("adaptive_layer", "matryoshka_2d"):
        with pytest.raises(WrongUse, match="vectors of several layers"):
            made(encoder, {"name": name}, "bi")
