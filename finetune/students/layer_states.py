"""What an encoder makes of texts by the states of layers below its last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from finetune.core.tensors import Inputs

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# What sentence-transformers calls the states of all layers and those of the last.
STATES = "all_layer_embeddings"
_TOKENS = "token_embeddings"


def depth_of(encoder: SentenceTransformer) -> int:
    """Layers of an encoder."""
    config = encoder[0].model.config.get_text_config()
    depth: int = config.num_hidden_layers
    return depth


@contextmanager
def showing(encoder: SentenceTransformer) -> Iterator[None]:
    """Has the passes of an encoder show the states of all its layers."""
    config = encoder[0].model.config
    before = config.output_hidden_states
    config.output_hidden_states = True
    try:
        yield
    finally:
        config.output_hidden_states = before


def at_layers(
    encoder: SentenceTransformer,
    features: Inputs,
    numbers: Sequence[int],
    task: str = "query",
) -> list[Inputs]:
    """What the parts behind an encoder's layers make of a batch: first of the states of its last
    layer, then of those of some below it.

    Args:
        encoder: of any kind that encodes texts apart.
        features: texts that its tokenizer read.
        numbers: of layers; 1 is the lowest.
        task: `query` or `document`, for parts that tell them apart.
    """
    with showing(encoder):
        read = encoder[0](dict(features))
    states = read[STATES]
    found = [_behind(encoder, read, task)]
    for number in numbers:
        lower = {_TOKENS: states[number], STATES: states[: number + 1]}
        found.append(_behind(encoder, {**read, **lower}, task))
    return found


def _behind(encoder: SentenceTransformer, read: Inputs, task: str) -> Inputs:
    """What all parts but the first make of states."""
    found = dict(read)
    for part in list(encoder)[1:]:
        takes = "task" in getattr(part, "forward_kwargs", ())
        found = part(found, task=task) if takes else part(found)
    return found
