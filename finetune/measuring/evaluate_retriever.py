"""How well a retriever or a ranker orders texts for held-out queries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from finetune.core.json_files import write_json
from finetune.core.own_files import MEASURED, check_folder
from finetune.core.rows import JsonObject
from finetune.core.unread import refuse_unread
from finetune.data import query_lists as lists
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.instructions import Instructions, instructed, of_task
from finetune.data.query_lists import ANSWERS, Listed
from finetune.measuring import fusing
from finetune.measuring import ranking_metrics as ranking
from finetune.scoring.retrievers import (
    BM25,
    SCORERS,
    best,
    check_searches,
    pair_scores,
)
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Row


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What to measure.

    Attributes:
        data: queries with texts that answer them (see `finetune.data.query_lists`).
        model: an encoder, or `bm25`.
        output: where evaluation.json and run.jsonl go.
        corpus: rows whose `field` is searched, besides the queries' own texts; None orders each
            query's own texts alone.
        field: the corpus's column.
        kind: bi, multi or sparse; cross orders a query's own texts.
        k: how many texts count.
        beside: more searches whose results are fused with the model's: `bm25` or `KIND=MODEL`.
        fuse: by `ranks` (reciprocal ones, summed) or by `scores` (from 0 to 1 for each search).
        instructions: what stands before queries and texts of each task; rows then bring `task`,
            those of the corpus only where the queries are of several. None for none.
        weights: of the model's scores and those of each search beside; all equal unless given.
    """

    data: str
    model: str
    output: Path
    corpus: str | None = None
    field: str = "text"
    kind: str = "bi"
    k: int = 10
    beside: tuple[str, ...] = ()
    fuse: str = "ranks"
    weights: tuple[float, ...] = ()
    instructions: Instructions | None = None


# What was found for each query.
RUN = "run.jsonl"
# What a kind looks like.
_NAME = re.compile(r"[\w-]*")
# The scores of texts for each query, by the names of the texts.
Found = dict[str, dict[str, float]]


class Source(NamedTuple):
    """A model that searches, and its kind."""

    kind: str
    model: str


def run(config: SearchConfig) -> JsonObject:
    """nDCG@k, MRR@k, recall@k and MAP with bootstrap intervals over queries.

    Returns:
        The content of OUTPUT/evaluation.json.

    Raises:
        WrongUse: data or a model that cannot be used.
    """
    check_folder(config.output, (RUN,), ("model", "data", "corpus", "beside"))
    refuse_unread(
        f"--field {config.field}",
        is_given=config.field != SearchConfig.field,
        is_read=config.corpus is not None,
        found="no --corpus",
        reader="rows that are searched",
    )
    sources = _sources(config)
    listed = lists.load(config.data)
    corpus = _corpus(config, listed)
    if config.instructions is not None:
        listed = instructed(
            listed, config.instructions, f"--input {config.data}"
        )
    texts, qrels = _judged(listed, corpus)
    runs = [_found(source, config, listed, texts) for source in sources]
    results = fusing.fused(runs, config.fuse, config.weights)
    # What a query lists counts by text: ids are the places of the texts, which keeps trec_eval's
    # rule for equal scores.
    grades = {query: _by_name(graded) for query, graded in qrels.items()}
    metrics = ranking.evaluate(results, grades, config.k)
    info = {
        "model": config.model,
        "data": config.data,
        "corpus": len(texts),
        "beside": list(config.beside),
        **{name: ranking.summary(v) for name, v in metrics.items()},
    }
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(config.output / MEASURED, info)
    with (config.output / RUN).open("w", encoding="utf-8") as file:
        for query, scores in results.items():
            names = ranking.ranked(scores)
            first = [
                {"text": texts[int(name)], "score": scores[name]}
                for name in names[: max(config.k, 10)]
            ]
            row = {"query": query, "found": first}
            line = json.dumps(row, ensure_ascii=False)
            file.write(line + "\n")
    return info


def _sources(config: SearchConfig) -> list[Source]:
    """The model, then what searches beside it.

    Raises:
        WrongUse: a search of no kind, weights that are not one a search or no numbers of which one
            is above 0, or what nothing reads.
    """
    sources = [Source(config.kind, config.model)]
    sources += [_beside(named) for named in config.beside]
    for kind, model in sources:
        if config.corpus is not None and model != BM25:
            check_searches(kind)
    if config.fuse != "ranks" and not config.beside:
        raise WrongUse(
            f"--fuse {config.fuse}",
            "one search",
            "several, which are fused",
            "Give more with --beside.",
        )
    if not config.weights:
        return sources
    _check_weights(config, sources)
    return sources


def _beside(named: str) -> Source:
    """A search of --beside: `bm25`, KIND=MODEL, or a model of kind bi.

    A model's own name may hold a `=`, as truncate:PATH:layers=2 does.
    """
    kind, sign, model = named.partition("=")
    if named and not (sign and _NAME.fullmatch(kind)):
        return Source("bi", named)
    if kind not in SCORERS or not model:
        raise WrongUse(
            f"--beside {named}",
            "no such search",
            f"{BM25}, or KIND=MODEL of the kinds {', '.join(SCORERS)}",
            did_you_mean(kind, SCORERS) or "For example --beside sparse=M.",
        )
    return Source(kind, model)


def _check_weights(config: SearchConfig, sources: Sequence[Source]) -> None:
    """Raises WrongUse where weights do not fit the searches."""
    usable = [isfinite(weight) and weight >= 0 for weight in config.weights]
    if not all(usable) or not any(config.weights):
        raise WrongUse(
            f"--weight {config.weights}",
            "a weight below 0 or no number, or none above 0",
            "numbers of 0 or more, one of them above 0",
            "Correct them.",
        )
    if len(config.weights) != len(sources) or config.fuse != "scores":
        raise WrongUse(
            f"--weight {config.weights}",
            f"{len(sources)} searches, --fuse {config.fuse}",
            "a weight for each search, and --fuse scores",
            "Give one for --model and one for each --beside.",
        )


def _name(position: int) -> str:
    return f"{position:09d}"


def _corpus(config: SearchConfig, listed: Sequence[Listed]) -> list[str]:
    """The texts that are searched, behind the instructions of their tasks."""
    if config.corpus is None:
        return []
    where = f"--corpus {config.corpus}"
    loaded = rows.load(config.corpus)
    tasks = {row.task for row in listed}
    only = tasks.pop() if len(tasks) == 1 else ""

    def read(number: int, row: Row) -> str:
        at = f"{where} row {number}"
        text = _text(row, config.field, at)
        if config.instructions is None:
            return text
        task = str(row.get("task") or only)
        return of_task(task, config.instructions, at).document + text

    return each_row(loaded, read)


def _text(row: Row, column: str, where: str) -> str:
    """The text of a column; a number is the text that it is written as."""
    if column not in row:
        raise WrongUse(
            where,
            f"columns {', '.join(row)}",
            f"a column {column}",
            "Name the column with --field.",
        )
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WrongUse(
            where,
            f"{value!r:.80} as {column}",
            "a text",
            "Write it as text, or take the row out.",
        )
    return str(value)


def _judged(
    listed: Sequence[Listed], corpus: Sequence[str]
) -> tuple[list[str], dict[str, dict[int, float]]]:
    """All texts, each once, and the grades of each query's: its scores, else 1 for the first and 0
    for the others.
    """
    unique = dict.fromkeys(corpus)
    for row in listed:
        unique |= dict.fromkeys(row.documents)
    texts = list(unique)
    positions = {text: position for position, text in enumerate(texts)}
    qrels = dict[str, dict[int, float]]()
    for row in listed:
        grades = row.scores or (1.0, *[0.0] * (len(row.documents) - 1))
        held = qrels.setdefault(row.query, {})
        for text, grade in zip(row.documents, grades, strict=True):
            held[positions[text]] = max(grade, held.get(positions[text], 0.0))
    highest = [max(grades.values()) for grades in qrels.values() if grades]
    if max(highest, default=0.0) < ANSWERS:
        raise WrongUse(
            "--input",
            "no text that answers its query",
            "grades of at least 0.5",
            "Look at the rows' scores.",
        )
    return texts, qrels


def _found(
    source: Source,
    config: SearchConfig,
    listed: Sequence[Listed],
    texts: list[str],
) -> Found:
    """What one search finds for each query: texts of the corpus, or the query's own."""
    if config.corpus is None:
        return _own_texts(source, listed, texts)
    queries = list(dict.fromkeys(row.query for row in listed))
    most = min(len(texts), max(100, config.k))
    rankings = best(source.kind, source.model, queries, texts, most)
    return {
        query: _by_name(dict(hits))
        for query, hits in zip(queries, rankings, strict=True)
    }


def _by_name(values: Mapping[int, float]) -> dict[str, float]:
    """Scores or grades by the ids of their texts."""
    return {_name(position): value for position, value in values.items()}


def _own_texts(
    source: Source, listed: Sequence[Listed], texts: list[str]
) -> Found:
    """Each query's own texts, scored."""
    positions = {text: _name(position) for position, text in enumerate(texts)}
    # The texts of each query, each once, in the order of the rows.
    own: dict[str, dict[str, None]] = {}
    for row in listed:
        of_query = own.setdefault(row.query, {})
        of_query.update(dict.fromkeys(row.documents))
    pairs = [
        (query, text) for query, documents in own.items() for text in documents
    ]
    scores = pair_scores(source.kind, source.model, pairs)
    run: Found = {query: {} for query in own}
    for (query, text), score in zip(pairs, scores, strict=True):
        run[query][positions[text]] = score
    return run
