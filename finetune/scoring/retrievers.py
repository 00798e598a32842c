"""How models of each kind score texts for queries: given pairs, and the best of many texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch

from finetune.students import kinds as students
from finetune.students.encoders import KINDS, SAME, has_head, open_encoder
from finetune.students.three_heads import HEADS, HeadScorer
from synth.core.errors import WrongUse
from synth.local_models.minilm import folder_of
from synth.search.index import Bm25, Hit, nearest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from finetune.core.arrays import VectorArray

Pair = tuple[str, str]

# A model's name that stands for statistics of words.
BM25 = "bm25"
# What scores pairs: the kinds of models, and each of three heads.
SCORERS = (*KINDS, *(f"heads-{head}" for head in HEADS))

# Queries that are compared with all texts at once: 64 x 100,000 scores are 26 MB.
_AT_ONCE = 64
# Texts of one comparison: a head over both vectors holds 64 x 256 x 4 x 384 numbers, 100 MB.
_A_TILE = 256


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
        WrongUse: no such model, or scores that are no numbers.
    """
    if model == BM25:
        return _word_scores(pairs)
    encoder = open_scorer(kind, model)
    if kind == "cross":
        scores = encoder.predict(list(pairs), show_progress_bar=False)
        found = [float(score) for score in scores]
    elif kind == "bi":
        left = _embedded(encoder, [query for query, _ in pairs])
        right = _embedded(encoder, [text for _, text in pairs])
        found = [float(value) for value in (left * right).sum(axis=1)]
    else:
        found = _own_likeness(encoder, pairs)
    check_finite(found, model)
    return found


def check_finite(scores: Iterable[float], model: str) -> None:
    """Raises WrongUse where a score is no finite number: it would order nothing."""
    if not all(map(isfinite, scores)):
        raise WrongUse(
            f"--model {model}",
            "a score that is no finite number",
            "a model whose scores are numbers",
            "Look at its training: its weights may hold NaN.",
        )


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
        WrongUse: no such model, one that reads query and text together, or scores that are no
            numbers.
    """
    if model == BM25:
        return Bm25(tuple(texts)).best(queries, most)
    check_searches(kind)
    encoder = open_scorer(kind, model)
    if kind == "bi":
        asked = _embedded(encoder, queries)
        held = _embedded(encoder, texts)
        for vectors in (asked, held):
            check_finite(vectors.sum(axis=1).tolist(), model)
        return nearest(asked, held, most)
    found = list(_most_like(encoder, queries, texts, most))
    for hits in found:
        check_finite([score for _, score in hits], model)
    return found


def check_searches(kind: str) -> None:
    """Raises WrongUse for a kind that reads query and text together."""
    if kind == "cross":
        raise WrongUse(
            f"--kind {kind}",
            "a corpus",
            "a kind that encodes texts apart, or model bm25, to search",
            "Leave --corpus out: it orders each row's texts.",
        )


def open_scorer(kind: str, model: str, where: str = "--model") -> Any:
    """What encodes queries and texts apart and compares them, or a cross-encoder.

    Args:
        kind: as for `pair_scores`.
        model: a folder or a name of the hub.
        where: what named it.

    Raises:
        WrongUse: no such model, one without the head of its kind, or a cross-encoder of several
            classes.
    """
    kind, _, head = kind.partition("-")
    _check_kind(SAME.get(kind, kind), model, where)
    # Opened as it was saved: what it lacks would begin at random.
    encoder = open_encoder(SAME.get(kind, kind), model, where).eval()
    if not has_head(kind, encoder):
        raise WrongUse(
            f"{where} {model}",
            f"no head of kind {kind}, which would begin at random",
            f"a model of kind {kind}",
            f"Train one with `finetune retriever --kind {kind}`.",
        )
    if kind == "cross":
        check_one_score(encoder, f"{where} {model}")
    if kind == "pair":
        from finetune.students.pair_parts import PairScorer  # noqa: PLC0415 - seconds of imports

        return PairScorer(encoder)
    return HeadScorer(encoder, head) if kind == "heads" else encoder


def _check_kind(kind: str, model: str, where: str) -> None:
    """Refuses a scorer of another kind, and what is no encoder."""
    others = {*KINDS, "demonstrations", "experts"} - {kind}
    takes = [name for name in students.KINDS if name not in others]
    students.check_kind(
        folder_of(model), takes, f"{where} {model}", f"a model of kind {kind}"
    )


def check_one_score(ranker: Any, where: str) -> None:
    """Raises WrongUse where a cross-encoder has several classes instead of a score."""
    classes = ranker.num_labels
    if classes != 1:
        raise WrongUse(
            where,
            f"{classes} classes",
            "a ranker with one score a pair",
            "Train one with `finetune retriever --kind cross`.",
        )


def _most_like(
    encoder: SentenceTransformer,
    queries: Sequence[str],
    texts: Sequence[str],
    most: int,
) -> Iterator[list[Hit]]:
    """The same by a model's own likeness, all texts compared."""
    of_texts = encoder.encode_document(list(texts), show_progress_bar=False)
    tiles = _tiles(of_texts)
    for start in range(0, len(queries), _AT_ONCE):
        some = list(queries[start : start + _AT_ONCE])
        of_queries = encoder.encode_query(some, show_progress_bar=False)
        scores = torch.cat(
            [encoder.similarity(of_queries, tile) for tile in tiles], dim=1
        )
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :most]
        values = scores.gather(1, order)
        for places, found in zip(order.tolist(), values.tolist(), strict=True):
            yield list(zip(places, found, strict=True))


def _tiles(of_texts: Any) -> list[Any]:
    """What was made of the texts, some texts at a time: a likeness that is more than a product
    holds numbers for each pair. Sparse vectors, which make a product, stay together.
    """
    if isinstance(of_texts, torch.Tensor) and of_texts.is_sparse:
        return [of_texts]
    places = range(0, len(of_texts), _A_TILE)
    return [of_texts[place : place + _A_TILE] for place in places]


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
