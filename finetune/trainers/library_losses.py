"""Losses of sentence-transformers by their names, with what they take unless told otherwise."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, cast

from finetune.core.rows import JsonObject
from finetune.students.encoders import open_encoder
from finetune.students.layer_pooling import JoinedLayers, WeightedLayers
from synth.core import registry
from synth.core.errors import WrongUse, did_you_mean
from synth.processes.ranks import is_launched

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

# Wants a cross-encoder with a head of several classes, which none here has.
# The last three learn the weights of another model of the same vocabulary, or are parts of losses.
_LEFT_OUT = (
    "CrossEntropyLoss",
    "SparseMSELoss",
    "FlopsLoss",
    "CSRReconstructionLoss",
)
# Kinds of students that learn by the losses of this project.
OWN_KINDS = ("bi", "heads", "pair")
# Losses that wrap another one.
AROUND = (
    "matryoshka",
    "matryoshka2d",
    "adaptivelayer",
    "splade",
    "cachedsplade",
    "csr",
)
# Losses that pool the states of one layer after another.
_BY_LAYER = ("matryoshka2d", "adaptivelayer")
INNER = "multiple_negatives_ranking"
# How much the weights of texts and of queries cost, as the documentation of the library has them.
FLOPS = {
    "document_regularizer_weight": 3e-5,
    "query_regularizer_weight": 5e-5,
}
# The shortest vector that a Matryoshka loss is asked to make use of, unless it is told.
_SHORTEST = 32


def made(model: SentenceTransformer, spec: JsonObject, kind: str) -> nn.Module:
    """A loss of the library with its parameters.

    Raises:
        WrongUse: no such loss, or parameters that it does not take.
    """
    name = str(spec["name"])
    parameters = {key: value for key, value in spec.items() if key != "name"}
    plain = plain_name(name)
    room = losses(kind)
    found = room.get(plain)
    if found is None:
        names = (
            *(
                registry.names("finetune.list_losses")
                if kind in OWN_KINDS
                else ()
            ),
            *room,
        )
        raise WrongUse(
            f"--loss {name}",
            f"no such loss for --kind {kind}",
            "one that is there",
            did_you_mean(name, names),
        )
    if plain in _BY_LAYER:
        _check_layers(model, name)
    if plain in AROUND:
        inner = {"name": parameters.get("loss", INNER)}
        parameters["loss"] = made(model, inner, kind)
    taken = inspect.signature(found).parameters
    for key, value in _usual(model, plain).items():
        if key in taken:
            parameters.setdefault(key, value)
    try:
        if "guide" in parameters:
            parameters["guide"] = open_encoder(
                "bi", str(parameters["guide"]), "--loss guide"
            )
        return cast("nn.Module", found(model, **parameters))
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"--loss {name}",
            str(error),
            f"parameters of {found.__name__}",
            "See the documentation of sentence-transformers.",
        ) from error


def _check_layers(model: SentenceTransformer, name: str) -> None:
    """Raises WrongUse for a loss of layers whose model makes its vector of several of them: the
    loss hands it one layer's states, which it does not look at, so that each layer's loss would be
    that of all.
    """
    for part in model:
        if isinstance(part, (JoinedLayers, WeightedLayers)):
            raise WrongUse(
                f"--loss {name}",
                f"vectors of several layers ({type(part).__name__})",
                "a model whose vector is made of one layer",
                "Give --pooling mean, or another loss: lead reads such a model layer by layer.",
            )


def _usual(model: SentenceTransformer, plain: str) -> JsonObject:
    """Parameters that a loss takes unless others are given."""
    usual: JsonObject = {}
    if is_launched():
        # Negatives of the joint batch.
        usual["gather_across_devices"] = True
    if plain.startswith("matryoshka"):
        usual["matryoshka_dims"] = _halves(model.get_embedding_dimension())
    if plain.endswith("splade"):
        usual |= FLOPS
    if plain == "softmax":
        # Whether a text answers.
        usual["num_labels"] = 2
        usual["embedding_dimension"] = model.get_embedding_dimension()
    return usual


def _halves(size: int) -> list[int]:
    """The lengths that a Matryoshka vector is cut to.

    >>> _halves(384)
    [384, 192, 96, 48]
    """
    sizes: list[int] = []
    while size >= _SHORTEST or not sizes:
        sizes.append(size)
        size //= 2
    return sizes


def read_by(spec: JsonObject) -> str:
    """The loss that decides how rows are read: that which another one is wrapped around."""
    name = str(spec["name"])
    if plain_name(name) in AROUND:
        return str(spec.get("loss", INNER))
    return name


def losses(kind: str) -> JsonObject:
    """The classes of a kind of model by their plain names."""
    from importlib import import_module  # noqa: PLC0415

    package = {
        "bi": "sentence_transformer",
        "heads": "sentence_transformer",
        "pair": "sentence_transformer",
        "cross": "cross_encoder",
        "multi": "multi_vector_encoder",
        "sparse": "sparse_encoder",
    }[kind]
    module = import_module(f"sentence_transformers.{package}.losses")
    return {
        plain_name(name): getattr(module, name)
        for name in dir(module)
        if name.endswith("Loss") and name not in _LEFT_OUT
    }


def plain_name(name: str) -> str:
    """A class's name as it is asked for, without underscores: MultiVectorMarginMSELoss and
    SparseMarginMSELoss are margin_mse.
    """
    short = name.removesuffix("Loss").replace("MultiVector", "")
    return short.removeprefix("Sparse").replace("_", "").casefold()
