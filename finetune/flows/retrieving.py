"""The stage `evaluate: retriever`: how well a student orders texts for held-out queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.flows.rights import SEARCHING
from finetune.flows.row_schema import Scalar
from finetune.flows.schema import FOUND
from finetune.measuring import evaluate_retriever
from synth.core.errors import WrongUse


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
    settings: Mapping[str, Scalar],
    folder: Path,
    where: str,
) -> Searched:
    """Measures a retriever into a folder.

    Args:
        data: queries with texts that answer them.
        model: the student.
        corpus: rows that are searched; None orders each query's own texts.
        settings: of the stage.
        folder: of the stage.
        where: the stage's name, for messages.

    Raises:
        WrongUse: no such setting, or rows or a model that cannot be used.
    """
    known = {one.name for one in fields(evaluate_retriever.SearchConfig)}
    for key in settings:
        if key not in known:
            raise WrongUse(
                f"--set {where}.{key}",
                "no such setting",
                ", ".join(sorted(SEARCHING)),
                "Correct the name.",
            )
    told: JsonObject = dict(settings)
    config = evaluate_retriever.SearchConfig(
        data=data,
        model=model,
        output=folder,
        corpus=corpus,
        **told,
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
