"""How models of each kind score texts for queries: given pairs, and the best of many texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from finetune.students.encoders import open_encoder
from finetune.students.three_heads import HeadScorer
from synth.core.errors import WrongUse
from synth.search.index import Bm25, Hit, nearest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from finetune.core.arrays import VectorArray

Pair = tuple[str, str]

# Queries that are compared with all texts at once: 64 x 100,000 scores are 26 MB.
_AT_ONCE = 64


def pair_scores(kind: str, model: str, pairs: Sequence[Pair]) -> list[float]:
    """The score of each (query, text), higher is better.

    Args:
        kind: bi (cosines), cross, multi (for each token of the query its best token of the text,
            summed: MaxSim, ColBERT, arXiv:2004.12832), sparse (products of vocabulary weights),
            heads (a weighted sum of three heads' scores), or one of the heads (heads-dense,
            heads-sparse, heads-multi), or pair (a network over two vectors).
        model: an encoder, or bm25 (statistics of these texts).
        pairs: what to score.

    Raises:
        WrongUse: no such model.
    """
    if model == "bm25":
        return _word_scores(pairs)
    encoder = open_scorer(kind, model)
    if kind == "cross":
        scores = encoder.predict(list(pairs), show_progress_bar=False)
        return [float(score) for score in scores]
    if kind == "bi":
        left = _embedded(encoder, [query for query, _ in pairs])
        right = _embedded(encoder, [text for _, text in pairs])
        return [float(value) for value in (left * right).sum(axis=1)]
    return _own_likeness(encoder, pairs)


def best(
    kind: str,
    model: str,
    queries: Sequence[str],
    texts: Sequence[str],
    most: int,
) -> list[list[Hit]]:
    """(place of a text, score) of at most `most` texts a query, the best first, equal ones in the
    order of the texts.

    Raises:
        WrongUse: no such model, or one that reads query and text together.
    """
    if model == "bm25":
        return Bm25(tuple(texts)).best(queries, most)
    if kind == "cross":
        raise WrongUse(
            f"--kind {kind}",
            "a corpus",
            "a kind that encodes texts apart, or model bm25, to search",
            "Leave --corpus out: it orders each row's texts.",
        )
    encoder = open_scorer(kind, model)
    if kind == "bi":
        asked = _embedded(encoder, queries)
        return nearest(asked, _embedded(encoder, texts), most)
    return list(_most_like(encoder, queries, texts, most))


def open_scorer(kind: str, model: str, where: str = "--model") -> Any:
    """What encodes queries and texts apart and compares them, or a cross-encoder.

    Args:
        kind: as for `pair_scores`.
        model: a folder or a name of the hub.
        where: what named it.

    Raises:
        WrongUse: no such model.
    """
    kind, _, head = kind.partition("-")
    encoder = open_encoder(kind, model, where).eval()
    if kind == "pair":
        from finetune.students.pair_parts import PairScorer  # noqa: PLC0415 - seconds of imports

        return PairScorer(encoder)
    return HeadScorer(encoder, head) if kind == "heads" else encoder


def _most_like(
    encoder: SentenceTransformer,
    queries: Sequence[str],
    texts: Sequence[str],
    most: int,
) -> Iterator[list[Hit]]:
    """The same by a model's own likeness, all texts compared."""
    of_texts = encoder.encode_document(list(texts), show_progress_bar=False)
    for start in range(0, len(queries), _AT_ONCE):
        some = list(queries[start : start + _AT_ONCE])
        of_queries = encoder.encode_query(some, show_progress_bar=False)
        scores = encoder.similarity(of_queries, of_texts)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :most]
        values = scores.gather(1, order)
        for places, found in zip(order.tolist(), values.tolist(), strict=True):
            yield list(zip(places, found, strict=True))


def _embedded(
    encoder: SentenceTransformer, texts: Sequence[str]
) -> VectorArray:
    vectors: VectorArray = encoder.encode(
        list(texts),
        normalize_embeddings=True,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return vectors


def _word_scores(pairs: Sequence[Pair]) -> list[float]:
    """BM25 of each pair, over all the texts."""
    queries, texts = _each_once(pairs)
    hits = Bm25(tuple(texts)).best(queries, len(texts))
    scores = {
        query: dict(of_query)
        for query, of_query in zip(queries, hits, strict=True)
    }
    positions = {text: position for position, text in enumerate(texts)}
    return [scores[query].get(positions[text], 0.0) for query, text in pairs]


def _each_once(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """The queries and the texts of pairs, each once."""
    queries = dict.fromkeys(query for query, _ in pairs)
    texts = dict.fromkeys(text for _, text in pairs)
    return list(queries), list(texts)


def _own_likeness(
    encoder: SentenceTransformer, pairs: Sequence[Pair]
) -> list[float]:
    """By the model's own likeness, each query and each text encoded once."""
    queries, texts = _each_once(pairs)
    of_queries = encoder.encode_query(queries, show_progress_bar=False)
    of_texts = encoder.encode_document(texts, show_progress_bar=False)
    asked = dict(zip(queries, of_queries, strict=True))
    held = dict(zip(texts, of_texts, strict=True))
    scores: list[float] = []
    for query, text in pairs:
        # A list of one each, since the lengths of token vectors differ.
        score = encoder.similarity_pairwise([asked[query]], [held[text]])
        scores.append(float(score))
    return scores
