"""Each loss of sentence-transformers trains from the command line, with rows as they come."""

from __future__ import annotations

import pytest

from finetune.data.loss_columns import forms
from finetune.trainers.library_losses import losses
from synth.local_models.minilm import MINILM
from tests.finetune.recipes.test_retriever import rows, trained  # noqa: F401

MORE = {
    "mse": ("--teacher", MINILM),
    "embed_distill": ("--teacher", MINILM),
}
GUIDED = ("gist_embed", "cached_gist_embed")
QUICK = (("bi", "co_sent"),)
LOSSES = [
    pytest.param(
        kind,
        name,
        marks=() if (kind, name) in QUICK else (pytest.mark.long,),
    )
    for kind in ("bi", "cross", "multi", "sparse")
    for name in forms(kind)
]


@pytest.mark.parametrize("kind", ["bi", "cross", "multi", "sparse"])
def test_every_loss_of_the_library_is_named(kind):
    named = {name.replace("_", "") for name in forms(kind)}
    assert named == {*losses(kind)}


@pytest.mark.parametrize(("kind", "name"), LOSSES)
def test_it_trains_on_scored_lists_and_on_others(
    rows,  # noqa: F811 - the fixture
    tmp_path,
    kind,
    name,
):
    loss = f"{name}:guide={MINILM}" if name in GUIDED else name
    form = forms(kind)[name]
    for data in ("ranked.jsonl", "triplets.jsonl"):
        more = MORE.get(name, ()) if kind == "bi" else ()
        code, said = trained(
            rows, tmp_path / data, loss, *more, data=data, kind=kind
        )
        if form.is_scored and data == "triplets.jsonl":
            assert code == 2
            assert "without scores" in said
        else:
            assert code == 0, said


@pytest.mark.long
@pytest.mark.parametrize(
    "loss",
    [
        "matryoshka:loss=co_sent,matryoshka_dims=[384,64]",
        "adaptive_layer:loss=triplet",
        "embed_distill:distance_metric=mse",
    ],
)
def test_losses_take_their_parameters(rows, tmp_path, loss):  # noqa: F811 - the fixture
    more = MORE.get(loss.partition(":")[0], ())
    code, said = trained(rows, tmp_path, loss, *more)
    assert code == 0, said


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("mse", "no teacher"),
        ("matryoshka:loss=matryoshk", "no such loss"),
        ("cross_entropy", "no such loss"),
    ],
)
def test_what_is_missing_is_said(rows, tmp_path, loss, said):  # noqa: F811 - the fixture
    kind = "cross" if loss == "cross_entropy" else "bi"
    code, output = trained(rows, tmp_path, loss, kind=kind)
    assert code == 2
    assert said in output
