"""Losses of pairs that read a batch in a way of their own, with the columns that they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data.loss_columns import Columns
from finetune.data.query_lists import Listed
from finetune.trainers.meta_alignment import MetaAlignment
from finetune.trainers.retriever_settings import RetrieverConfig
from finetune.trainers.source_separation import SourceSeparation
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from torch import nn


def numbered(listed: Sequence[Listed]) -> Columns:
    """Queries, their first texts and the number of each row as its label."""
    return {
        "anchor": [row.query for row in listed],
        "positive": [row.documents[0] for row in listed],
        "label": list(range(len(listed))),
    }


def separated(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    spec: JsonObject,
    wanted: RetrieverConfig,
) -> tuple[nn.Module, Dataset]:
    """What translations share, apart from their languages.

    Raises:
        WrongUse: a student without words' vectors.
    """
    import datasets  # noqa: PLC0415

    parameters = {key: value for key, value in spec.items() if key != "name"}
    try:
        module = SourceSeparation(model, **parameters)
    except ValueError as error:
        raise WrongUse(
            f"--loss {wanted.loss}",
            str(error),
            "an encoder that is a transformer",
            "Give another --model.",
        ) from error
    return module, datasets.Dataset.from_dict(numbered(listed))


def in_stages(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    spec: JsonObject,
    wanted: RetrieverConfig,
) -> tuple[nn.Module, Dataset]:
    """Meta-learning over three stages of rows.

    Raises:
        WrongUse: other rows than of three tasks, or parameters that it does not take.
    """
    import datasets  # noqa: PLC0415

    parameters = {key: value for key, value in spec.items() if key != "name"}
    try:
        module = MetaAlignment(model, listed, scale=wanted.scale, **parameters)
    except ValueError as error:
        raise WrongUse(
            f"--loss {wanted.loss}",
            str(error),
            "rows of three tasks, each with several texts",
            "Name the stages in the column `task`, the first one first.",
        ) from error
    return module, datasets.Dataset.from_dict(module.columns())
