"""An encoder read at a layer is the encoder cut there."""

from __future__ import annotations

import pytest
import torch

from finetune.students.encoders import open_encoder
from finetune.students.layer_states import at_layers, depth_of, showing
from tests import tiny


@pytest.mark.parametrize(
    ("kind", "name"),
    [("bi", "sentence_embedding"), ("multi", "token_embeddings")],
)
def test_a_layer_is_read_as_if_it_were_the_last(kind, name):
    source = tiny.encoder("mlm")
    torch.manual_seed(0)
    whole = open_encoder(kind, source).eval()
    features = whole.preprocess(["red pen", "old house"])
    last, lower = at_layers(whole, features, [1])
    assert torch.equal(last[name], whole(dict(features))[name])
    torch.manual_seed(0)
    short = open_encoder(kind, f"truncate:{source}:layers=1").eval()
    assert torch.allclose(lower[name], short(dict(features))[name])
    assert not torch.allclose(lower[name], last[name])
    assert (depth_of(whole), depth_of(short)) == (2, 1)


def test_a_model_shows_its_layers_only_while_it_is_asked_to():
    encoder = open_encoder("bi", tiny.encoder("mlm"))
    before = encoder[0].model.config.output_hidden_states
    with pytest.raises(KeyError), showing(encoder):
        raise KeyError
    assert encoder[0].model.config.output_hidden_states == before
