"""Encoders that share one set of weights: each is the beginning of every layer, row and column of
the largest one (AutoDistil, arXiv:2201.12507).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.students.kinds import require_kind
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

FILE = "supernet.json"


class Sizes(NamedTuple):
    """Of one encoder; its width is that of its heads together.

    Attributes:
        layers: from the lowest.
        heads: of attention, each as wide as those of the largest encoder.
        inner: width of the feed-forward layers.
    """

    layers: int
    heads: int
    inner: int


class Space(NamedTuple):
    """Sizes that an encoder may have, each ascending.

    Attributes:
        layers: numbers of layers.
        heads: numbers of heads.
        inner: widths of the feed-forward layers.
    """

    layers: Sequence[int]
    heads: Sequence[int]
    inner: Sequence[int]

    def all(self) -> list[Sizes]:
        """Every encoder.

        >>> [tuple(one) for one in Space([1, 2], [4], [8, 16]).all()]
        [(1, 4, 8), (1, 4, 16), (2, 4, 8), (2, 4, 16)]
        """
        return [Sizes(*one) for one in product(*self)]

    @property
    def largest(self) -> Sizes:
        """The encoder that holds all others."""
        return Sizes(self.layers[-1], self.heads[-1], self.inner[-1])


_FIELDS = ("num_hidden_layers", "num_attention_heads", "intermediate_size")


def sizes_of(config: PretrainedConfig, where: str) -> Sizes:
    """The sizes of an encoder.

    Raises:
        WrongUse: a model of another form than BERT's.
    """
    known = all(hasattr(config, name) for name in _FIELDS)
    if not known or hasattr(config, "num_key_value_heads"):
        raise WrongUse(
            where,
            f"a model of type {config.model_type}",
            "an encoder whose heads make up its width, such as BERT or RoBERTa",
            "Take such a model.",
        )
    return Sizes(*(getattr(config, name) for name in _FIELDS))


def config_of(config: PretrainedConfig, sizes: Sizes) -> PretrainedConfig:
    """The configuration of an encoder with such sizes.

    Args:
        config: of the largest one, or of another with heads as wide.
        sizes: of the encoder.
    """
    made = copy.deepcopy(config)
    size = config.hidden_size // config.num_attention_heads
    for name, value in zip(_FIELDS, sizes, strict=True):
        setattr(made, name, value)
    made.hidden_size = size * sizes.heads
    return made


def empty(
    config: PretrainedConfig, device: str | None = None
) -> PreTrainedModel:
    """A body of this configuration; its weights are random, or on `meta` none."""
    from transformers import AutoModel  # noqa: PLC0415

    with torch.device(device or "cpu"):
        made: PreTrainedModel = AutoModel.from_config(config)
    return made.eval()


def count(config: PretrainedConfig, sizes: Sizes) -> int:
    """Weights of the encoder with such sizes, those of its embeddings included."""
    made = empty(config_of(config, sizes), "meta")
    return sum(weight.numel() for weight in made.parameters())


def slices(
    whole: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The beginning of each weight, as far as the smaller model's reaches; gradients go back into
    the whole.

    Args:
        whole: weights of the largest encoder by name.
        wanted: of the smaller one; their shapes alone count.

    Example:
        >>> slices({"a": torch.arange(6).view(2, 3)}, {"a": torch.zeros(1, 2)})["a"].tolist()
        [[0, 1]]
    """
    found = {}
    for name, like in wanted.items():
        found[name] = whole[name][tuple(map(slice, like.shape))]
    return found


class Supernet:
    """The largest encoder, run as any smaller one.

    Args:
        model: the largest encoder's body.
        space: sizes of all.
    """

    def __init__(self, model: PreTrainedModel, space: Space) -> None:
        self.model = model
        self.space = space
        self._forms: dict[Sizes, PreTrainedModel] = {}

    def form(self, sizes: Sizes) -> PreTrainedModel:
        """A model of such sizes, whose own weights mean nothing."""
        if sizes not in self._forms:
            config = config_of(self.model.config, sizes)
            self._forms[sizes] = empty(config).to(self.model.device)
        return self._forms[sizes]

    def run(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Any:
        """What the encoder of such sizes says; hooks of its `form` see the pass."""
        form = self.form(sizes)
        form.train(self.model.training)
        return torch.func.functional_call(
            form, self.weights(sizes), kwargs=dict(inputs)
        )

    def weights(self, sizes: Sizes) -> dict[str, Tensor]:
        """The weights of an encoder, which are parts of the largest one's."""
        whole = dict(self.model.named_parameters())
        return slices(whole, dict(self.form(sizes).named_parameters()))

    def taken(self, sizes: Sizes) -> PreTrainedModel:
        """The encoder alone, with weights of its own."""
        made = empty(config_of(self.model.config, sizes))
        with torch.no_grad():
            parts = self.weights(sizes)
            for name, weight in made.named_parameters():
                weight.copy_(parts[name])
        return made


def begun(
    config: PretrainedConfig, space: Space, source: PreTrainedModel | None
) -> PreTrainedModel:
    """The largest encoder of a space: with random weights, or the beginning of a source.

    Raises:
        WrongUse: a source that is smaller.
    """
    made = empty(config_of(config, space.largest))
    if source is None:
        return made
    given = sizes_of(source.config, "--model")
    if any(a < b for a, b in zip(given, space.largest, strict=True)):
        raise WrongUse(
            f"--model of {given}",
            f"a largest encoder of {space.largest}",
            "a model that holds all of them",
            "Lower --layers, --heads or --feed-forward, or give --model scratch.",
        )
    whole = dict(source.named_parameters())
    parts = slices(whole, dict(made.named_parameters()))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.copy_(parts[name])
    return made


def keep(folder: Path, net: Supernet, facts: JsonObject) -> None:
    """Writes the largest encoder, and what is needed to search it."""
    net.model.save_pretrained(folder)
    space = {name: list(of) for name, of in net.space._asdict().items()}
    write_json(folder / FILE, {**facts, "space": space})


def load(folder: str) -> tuple[Supernet, JsonObject]:
    """What `keep` wrote.

    Raises:
        WrongUse: nothing of that kind there.
    """
    require_kind(folder, "supernet", folder)
    from transformers import AutoModel  # noqa: PLC0415

    text = (Path(folder) / FILE).read_text(encoding="utf-8")
    facts: JsonObject = json.loads(text)
    space = Space(**facts.pop("space"))
    model = AutoModel.from_pretrained(folder).eval()
    return Supernet(model, space), facts


def affordable(net: Supernet, most: int) -> Iterator[tuple[Sizes, int]]:
    """(sizes, weights) of each encoder within a budget of weights."""
    for sizes in net.space.all():
        weights = count(net.model.config, sizes)
        if weights <= most:
            yield sizes, weights
