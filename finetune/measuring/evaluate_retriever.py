"""How well a retriever or a ranker orders texts for held-out queries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import query_lists as lists
from finetune.data import rows
from finetune.data.query_lists import ANSWERS, Listed
from finetune.measuring import ranking_metrics as ranking
from finetune.students.encoders import open_encoder
from synth.core.errors import WrongUse
from synth.search.index import Bm25, nearest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from finetune.core.arrays import VectorArray


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
        kind: bi; cross and multi order a query's own texts.
        k: how many texts count.
    """

    data: str
    model: str
    output: Path
    corpus: str | None = None
    field: str = "text"
    kind: str = "bi"
    k: int = 10


def run(config: SearchConfig) -> JsonObject:
    """nDCG@k, MRR@k, recall@k and MAP with bootstrap intervals over queries.

    Returns:
        The content of OUTPUT/evaluation.json.

    Raises:
        WrongUse: data or a model that cannot be used.
    """
    listed = lists.load(config.data)
    texts, qrels = _judged(listed, _corpus(config))
    results = (
        _own_texts(config, listed, texts)
        if config.corpus is None
        else _searched(config, list(qrels), texts)
    )
    # What a query lists counts by text: ids are the places of the texts, which keeps trec_eval's
    # rule for equal scores.
    grades = {query: _by_name(graded) for query, graded in qrels.items()}
    metrics = ranking.evaluate(results, grades, config.k)
    info = {
        "model": config.model,
        "data": config.data,
        "corpus": len(texts),
        **{name: ranking.summary(v) for name, v in metrics.items()},
    }
    config.output.mkdir(parents=True, exist_ok=True)
    (config.output / "evaluation.json").write_text(
        json.dumps(info, indent=2) + "\n", encoding="utf-8"
    )
    with (config.output / "run.jsonl").open("w", encoding="utf-8") as file:
        for query, scores in results.items():
            best = [
                {"text": texts[int(name)], "score": scores[name]}
                for name in ranking.ranked(scores)[: max(config.k, 10)]
            ]
            file.write(
                json.dumps({"query": query, "found": best}, ensure_ascii=False)
                + "\n"
            )
    return info


def _name(position: int) -> str:
    return f"{position:09d}"


def _corpus(config: SearchConfig) -> list[str]:
    if config.corpus is None:
        return []
    return [
        str(row[config.field])
        for row in rows.columns(
            rows.load(config.corpus), (config.field,), config.corpus
        )
    ]


def _judged(
    listed: Sequence[Listed], corpus: Sequence[str]
) -> tuple[list[str], dict[str, dict[int, float]]]:
    """All texts, each once, and the grades of each query's: its scores, else 1 for the first and 0
    for the others.
    """
    own = [text for row in listed for text in row.documents]
    texts = list(dict.fromkeys([*corpus, *own]))
    positions = {text: position for position, text in enumerate(texts)}
    qrels = dict[str, dict[int, float]]()
    for row in listed:
        grades = row.scores or (1.0, *[0.0] * (len(row.documents) - 1))
        held = qrels.setdefault(row.query, {})
        for text, grade in zip(row.documents, grades, strict=True):
            held[positions[text]] = max(grade, held.get(positions[text], 0.0))
    best = [max(grades.values()) for grades in qrels.values() if grades]
    if max(best, default=0.0) < ANSWERS:
        raise WrongUse(
            "--input",
            "no text that answers its query",
            "grades of at least 0.5",
            "Look at the rows' scores.",
        )
    return texts, qrels


def _searched(
    config: SearchConfig, queries: list[str], texts: list[str]
) -> dict[str, dict[str, float]]:
    """The best texts of the whole corpus."""
    wanted = max(100, config.k)
    most = min(len(texts), wanted)
    if config.model == "bm25":
        rankings = Bm25(tuple(texts)).best(queries, most)
    elif config.kind == "bi":
        model = open_encoder("bi", config.model)
        rankings = nearest(
            _embedded(model, queries), _embedded(model, texts), most
        )
    else:
        raise WrongUse(
            f"--kind {config.kind}",
            "a corpus",
            "kind bi or model bm25 to search",
            "Leave --corpus out: it orders each row's texts.",
        )
    return {
        query: _by_name(dict(hits))
        for query, hits in zip(queries, rankings, strict=True)
    }


def _by_name(values: Mapping[int, float]) -> dict[str, float]:
    """Scores or grades by the ids of their texts."""
    return {_name(position): value for position, value in values.items()}


def _embedded(model: SentenceTransformer, texts: Sequence[str]) -> VectorArray:
    vectors: VectorArray = model.encode(
        list(texts),
        normalize_embeddings=True,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return vectors


def _own_texts(
    config: SearchConfig, listed: Sequence[Listed], texts: list[str]
) -> dict[str, dict[str, float]]:
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
    scores = pair_scores(config.kind, config.model, pairs)
    run: dict[str, dict[str, float]] = {query: {} for query in own}
    for (query, text), score in zip(pairs, scores, strict=True):
        run[query][positions[text]] = score
    return run


def pair_scores(
    kind: str, model: str, pairs: Sequence[tuple[str, str]]
) -> list[float]:
    """The score of each (query, text), higher is better.

    Args:
        kind: bi, cross or multi.
        model: an encoder, or bm25 (statistics of these texts).
        pairs: what to score.
    """
    if model == "bm25":
        return _word_scores(pairs)
    opened = open_encoder(kind, model)
    if kind == "cross":
        return [
            float(score)
            for score in opened.predict(list(pairs), show_progress_bar=False)
        ]
    if kind == "multi":
        return _late(opened, pairs)
    left = _embedded(opened, [query for query, _ in pairs])
    right = _embedded(opened, [text for _, text in pairs])
    return [float(value) for value in (left * right).sum(axis=1)]


def _word_scores(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """BM25 of each pair, over all the texts."""
    queries, texts = _each_once(pairs)
    hits = Bm25(tuple(texts)).best(queries, len(texts))
    scores = {
        query: dict(of_query)
        for query, of_query in zip(queries, hits, strict=True)
    }
    positions = {text: position for position, text in enumerate(texts)}
    return [scores[query].get(positions[text], 0.0) for query, text in pairs]


def _each_once(
    pairs: Sequence[tuple[str, str]],
) -> tuple[list[str], list[str]]:
    """The queries and the texts of pairs, each once."""
    queries = dict.fromkeys(query for query, _ in pairs)
    texts = dict.fromkeys(text for _, text in pairs)
    return list(queries), list(texts)


def _late(
    model: SentenceTransformer, pairs: Sequence[tuple[str, str]]
) -> list[float]:
    """For each token of the query its best token of the text, summed (MaxSim, ColBERT,
    arXiv:2004.12832).
    """
    queries, texts = _each_once(pairs)
    of_queries = model.encode_query(queries, show_progress_bar=False)
    of_texts = model.encode_document(texts, show_progress_bar=False)
    asked = dict(zip(queries, of_queries, strict=True))
    held = dict(zip(texts, of_texts, strict=True))
    left = [asked[query] for query, _ in pairs]
    right = [held[text] for _, text in pairs]
    scores: list[float] = model.similarity_pairwise(left, right).tolist()
    return scores
