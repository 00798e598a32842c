"""Students cut out of a larger model: its embeddings, its head and some of its layers (`--model
truncate:PATH:layers=0,2,4`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_PREFIX = "truncate:"
_TODO = (
    "Write truncate:PATH:layers=0,2,4, truncate:PATH:layers=6 (the lowest six), "
    "truncate:PATH:even=6 (evenly spaced, the last included), or truncate:PATH:every=2 (every "
    "second)."
)


def is_truncated(model: str) -> bool:
    """Whether a model's name asks for part of another one."""
    return model.startswith(_PREFIX)


def source_of(model: str) -> str:
    """The model that is cut.

    >>> source_of("truncate:models/big:layers=4")
    'models/big'
    """
    return _parts(model)[0]


def cut(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """The model with the named layers alone, renumbered; nothing is trained.

    The lowest layers are the best start for plain distillation (arXiv:2305.15032).

    Raises:
        WrongUse: layers that the model does not have, or a model whose layers cannot be found.
    """
    _, kind, wanted = _parts(name)
    layers = _layers(model, name)
    positions = chosen(kind, wanted, len(layers), name)
    kept = [layers[position] for position in positions]
    del layers[:]
    for number, layer in enumerate(kept):
        for part in layer.modules():
            if hasattr(part, "layer_idx"):
                # By its name: a module's attributes are tensors or modules to a type checker.
                setattr(part, "layer_idx", number)  # noqa: B010
        layers.append(layer)
    config = model.config.get_text_config()
    if getattr(config, "layer_types", None):
        config.layer_types = [
            config.layer_types[position] for position in positions
        ]
    config.num_hidden_layers = len(positions)
    return model


def chosen(kind: str, wanted: str, count: int, name: str) -> list[int]:
    """Places of layers, ascending.

    >>> chosen("layers", "0,2", 6, ""), chosen("layers", "2", 6, ""), chosen("even", "3", 6, "")
    ([0, 2], [0, 1], [0, 2, 5])
    >>> chosen("every", "2", 6, "")
    [1, 3, 5]
    """
    try:
        numbers = [int(part) for part in wanted.split(",")]
    except ValueError:
        raise WrongUse(
            f"--model {name}", repr(wanted), "numbers", _TODO
        ) from None
    if kind == "layers" and len(numbers) > 1:
        layers = numbers
    elif kind == "layers":
        layers = list(range(numbers[0]))
    elif kind == "every":
        # Those whose number, from 1, the distance divides.
        distance = numbers[0] if len(numbers) == 1 else 0
        layers = list(range(distance - 1, count, max(1, distance)))
    elif len(numbers) == 1:
        layers = _even(numbers[0], count)
    else:
        layers = []
    if (
        not layers
        or layers != sorted(set(layers))
        or layers[0] < 0
        or layers[-1] >= count
    ):
        raise WrongUse(
            f"--model {name}",
            f"{kind}={wanted}",
            f"layers of 0 to {count - 1}, ascending",
            _TODO,
        )
    return layers


def _even(wanted: int, count: int) -> list[int]:
    """Places from the first layer to the last at equal distances, as DistilBERT's (0, 2, 4, 7, 9
    and 11 of 12); a single one is the last, whose output the head was trained to read.
    """
    if wanted == 1:
        return [count - 1]
    distance = (count - 1) / max(1, wanted - 1)
    return [round(n * distance) for n in range(wanted)]


def _parts(name: str) -> tuple[str, str, str]:
    source, colon, rest = name.removeprefix(_PREFIX).rpartition(":")
    kind, equals, wanted = rest.partition("=")
    if not (colon and equals and source) or kind not in (
        "layers",
        "even",
        "every",
    ):
        raise WrongUse(
            f"--model {name}", "no layers", "truncate:PATH:layers=N", _TODO
        )
    return source, kind, wanted


def _layers(model: PreTrainedModel, name: str) -> nn.ModuleList:
    from finetune.students.layers import layers_of  # noqa: PLC0415 - torch

    layers = layers_of(model)
    if layers is None:
        raise WrongUse(
            f"--model {name}",
            f"a {type(model).__name__}",
            "a decoder with a list of layers",
            "Cut it by hand.",
        )
    return layers
