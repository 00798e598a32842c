"""The stage `evaluate: retriever`: how well a student orders texts for held-out queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.flows.schema import FOUND
from finetune.measuring import evaluate_retriever


class Searched(NamedTuple):
    """What was found for each query, the measures, and what is told of them."""

    rows: Path
    measures: Mapping[str, float]
    facts: JsonObject


def searched(
    data: str,
    model: str,
    corpus: str | None,
    *,
    settings: JsonObject,
    folder: Path,
) -> Searched:
    """Measures a retriever into a folder.

    Args:
        data: queries with texts that answer them.
        model: the student.
        corpus: rows that are searched; None orders each query's own texts.
        settings: of the stage.
        folder: of the stage.

    Raises:
        WrongUse: rows or a model that cannot be used.
    """
    config = evaluate_retriever.SearchConfig(
        data=data,
        model=model,
        output=folder,
        corpus=corpus,
        **settings,
    )
    info = evaluate_retriever.run(config)
    measures = {}
    for name in FOUND:
        # All but `map` count the first k texts.
        key = name if name in info else f"{name}@{config.k}"
        measures[name] = info[key]["mean"]
    facts = {"queries": info["map"]["queries"], "texts": info["corpus"]}
    return Searched(
        folder / evaluate_retriever.RUN,
        measures,
        {**facts, **measures},
    )
