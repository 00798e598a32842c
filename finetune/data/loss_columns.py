"""Queries with their lists as the columns that losses of sentence-transformers read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from finetune.data.query_lists import ANSWERS, Least, Listed
from synth.core.errors import WrongUse

# Texts, scores or numbers, one a row.
Columns = dict[str, Sequence[object]]
# Texts -> their vectors, for losses that learn from those of a teacher.
Encode = Callable[[Sequence[str]], Sequence[Sequence[float]]]

# A text without so many of its words is to be written anew (TSDAE, 2104.06979, section 3).
_DELETED = 0.6
# Pairs of different texts for each pair of equal ones (Contrastive Tension, 2101.08240, section 3).
_DIFFERENT = 7
# Every random choice of columns begins here, so that they are the same in all processes.
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Form:
    """How losses read a row.

    Attributes:
        says: what becomes of a row, for the documents.
        make: the columns of rows of a width.
        is_scored: whether each text needs a score.
        has_vectors: whether the label is a teacher's vector of each text.
        sampler: the batch sampler, where the library's own will not do.
        least: of what something is learnt, as losses of `finetune.list_losses` say it.
        reads_first: whether a row's first text alone is read.
        orders: whether scores count by their order alone, so that equal ones say nothing.
    """

    says: str
    make: Callable[[Sequence[Listed], int], Columns]
    is_scored: bool = False
    has_vectors: bool = False
    sampler: str | None = None
    least: Least = "text"
    reads_first: bool = False
    orders: bool = False


def lists(listed: Sequence[Listed], width: int) -> Columns:
    """A query, its first text, and as many negatives in every row."""
    filled = [_filled(row, width) for row in listed]
    columns: Columns = {
        "anchor": [row.query for row in listed],
        "positive": [row.documents[0] for row in filled],
    }
    for position in range(1, width):
        negatives = [row.documents[position] for row in filled]
        columns[f"negative_{position}"] = negatives
    return columns


def scored_lists(listed: Sequence[Listed], width: int) -> Columns:
    """The same, with the scores of the texts."""
    filled = [_filled(row, width) for row in listed]
    scores = [list(row.scores or ()) for row in filled]
    return {**lists(listed, width), "label": scores}


def pairs(listed: Sequence[Listed], _: int) -> Columns:
    """A query and its first text."""
    return lists(listed, 1)


def triplets(listed: Sequence[Listed], width: int) -> Columns:
    """A query, its first text and one negative, for each negative.

    Raises:
        WrongUse: rows without any.
    """
    rows = [
        (row.query, row.documents[0], negative)
        for row in listed
        for negative in row.documents[1:width]
    ]
    if not rows:
        raise WrongUse(
            "--input",
            "no negative in any row",
            "rows with negatives, and --negatives above 0",
            "Mine some with `synth mine`.",
        )
    anchors, positives, negatives = zip(*rows, strict=True)
    return {"anchor": anchors, "positive": positives, "negative": negatives}


def one_negative(listed: Sequence[Listed], width: int) -> Columns:
    """Triplets, or pairs where no row has a negative."""
    lone = all(len(row.documents[:width]) < 2 for row in listed)
    return pairs(listed, width) if lone else triplets(listed, width)


def likeness(listed: Sequence[Listed], width: int) -> Columns:
    """A query and each of its texts, with its score; without scores 1 for the first, else 0."""
    rows = list(_each(listed, width))
    return {
        "sentence1": [row.query for row, _ in rows],
        "sentence2": [row.documents[place] for row, place in rows],
        "label": [_score(row, place) for row, place in rows],
    }


def answers(listed: Sequence[Listed], width: int) -> Columns:
    """A query and each of its texts, with 1 where it answers, else 0."""
    columns = likeness(listed, width)
    labels = [int(score >= ANSWERS) for score in _numbers(columns["label"])]
    return {**columns, "label": labels}


def classes(listed: Sequence[Listed], _: int) -> Columns:
    """Queries and their first texts, each with its class: the row's group, or else the row."""
    numbers: dict[str, int] = {}
    texts: list[str] = []
    labels: list[int] = []
    for place, row in enumerate(listed):
        name = row.group or f"row {place}"
        number = numbers.setdefault(name, len(numbers))
        texts += [row.query, row.documents[0]]
        labels += [number, number]
    return {"sentence": texts, "label": labels}


def tension(listed: Sequence[Listed], width: int) -> Columns:
    """Each text beside itself, and beside others; the loss sees which are equal."""
    texts = _texts(listed, width)
    draw = random.Random(_SEED)
    first: list[str] = []
    second: list[str] = []
    for text in texts:
        first += [text] * (1 + _DIFFERENT)
        second += [text, *draw.choices(texts, k=_DIFFERENT)]
    return {"sentence1": first, "sentence2": second}


def damaged(listed: Sequence[Listed], width: int) -> Columns:
    """Each text without six words of ten, beside the whole one."""
    texts = _texts(listed, width)
    draw = random.Random(_SEED)
    return {
        "damaged": [_damaged(text, draw) for text in texts],
        "text": texts,
    }


def ranked(listed: Sequence[Listed], width: int) -> Columns:
    """A query with a list of texts and one of scores."""
    return {
        "query": [row.query for row in listed],
        "documents": [list(row.documents[:width]) for row in listed],
        "label": [list((row.scores or ())[:width]) for row in listed],
    }


def judged(listed: Sequence[Listed], width: int) -> Columns:
    """A query and each of its texts, for models that read both together."""
    columns = likeness(listed, width)
    return {
        "query": columns["sentence1"],
        "document": columns["sentence2"],
        "label": columns["label"],
    }


NO_DUPLICATES = "no_duplicates"
LISTS = Form(
    says="a query, a text that answers it, and its negatives",
    make=lists,
    sampler=NO_DUPLICATES,
    least="batch",
)
PAIRS = replace(
    LISTS,
    says="a query and a text that answers it",
    make=pairs,
    reads_first=True,
)
_SCORED = Form(
    says="a query, its texts and their scores",
    make=scored_lists,
    is_scored=True,
    sampler=NO_DUPLICATES,
    least="list",
)
_LIKENESS = Form(
    says="a query beside each of its texts, and its score (else 1 and 0)",
    make=likeness,
)
_ORDERED = replace(_LIKENESS, orders=True)
_ANSWERS = Form(
    says="a query beside each of its texts, and whether it answers",
    make=answers,
)
_CLASSES = Form(
    says="texts and their class: `group`, or else query and answer are a class",
    make=classes,
    sampler="group_by_label",
    least="batch",
    reads_first=True,
)
_VECTORS = Form(
    says="texts and the vectors that `--teacher` makes of them",
    make=lists,
    has_vectors=True,
)
_TRIPLETS = Form(
    says="a query, a text that answers it, and one negative a row",
    make=triplets,
)
_RANKED = Form(
    says="a query, its texts and their scores",
    make=ranked,
    is_scored=True,
    least="list",
)

_ONE_NEGATIVE = Form(
    says="a query, a text that answers it, and one negative a row, if there is any",
    make=one_negative,
    sampler=NO_DUPLICATES,
    least="batch",
)
_INSIDE = replace(
    LISTS, says="what the loss reads that it is wrapped around (`loss=NAME`)"
)

# Of bi-encoders; a loss that is not named reads LISTS.
_BI = {
    "adaptive_layer": _INSIDE,
    "angl_e": _ORDERED,
    "batch_all_triplet": _CLASSES,
    "batch_hard_soft_margin_triplet": _CLASSES,
    "batch_hard_triplet": _CLASSES,
    "batch_semi_hard_triplet": _CLASSES,
    "cached_gist_embed": _ONE_NEGATIVE,
    "cached_multiple_negatives_ranking": LISTS,
    "cached_multiple_negatives_symmetric_ranking": LISTS,
    "co_sent": _ORDERED,
    "contrastive": _ANSWERS,
    "contrastive_tension": Form(
        says="all texts, beside themselves and others", make=tension
    ),
    "cosine_similarity": _LIKENESS,
    "denoising_auto_encoder": Form(
        says="all texts, without six words of ten and whole", make=damaged
    ),
    "distill_kl_div": _SCORED,
    "embed_distill": _VECTORS,
    "gist_embed": _ONE_NEGATIVE,
    "global_orthogonal_regularization": LISTS,
    "margin_mse": _SCORED,
    "matryoshka": _INSIDE,
    "matryoshka_2d": _INSIDE,
    "mega_batch_margin": PAIRS,
    "mse": _VECTORS,
    "multiple_negatives_ranking": LISTS,
    "multiple_negatives_symmetric_ranking": LISTS,
    "online_contrastive": _ANSWERS,
    "softmax": _ANSWERS,
    "triplet": _TRIPLETS,
}
_JUDGED = Form(
    says="a query beside each of its texts, and its score (else 1 and 0)",
    make=judged,
)
_PLAIN = replace(LISTS, sampler=None)
_PLAIN_SCORED = replace(_SCORED, sampler=None)
_CROSS = {
    "adrmse": _RANKED,
    "binary_cross_entropy": _JUDGED,
    "cached_multiple_negatives_ranking": _PLAIN,
    "lambda": _RANKED,
    "list_mle": _RANKED,
    "list_net": _RANKED,
    "margin_mse": _PLAIN_SCORED,
    "mse": replace(_JUDGED, is_scored=True),
    "multiple_negatives_ranking": _PLAIN,
    "p_list_mle": _RANKED,
    "rank_net": _RANKED,
}
_MULTI = {
    "cached_multiple_negatives_ranking": LISTS,
    "distill_kl_div": _SCORED,
    "margin_mse": _SCORED,
    "multiple_negatives_ranking": LISTS,
}
_SPARSE = {
    "angl_e": _ORDERED,
    "cached_splade": _INSIDE,
    "co_sent": _ORDERED,
    "cosine_similarity": _LIKENESS,
    "csr": _INSIDE,
    "distill_kl_div": _SCORED,
    "margin_mse": _SCORED,
    "multiple_negatives_ranking": LISTS,
    "splade": _INSIDE,
    "triplet": _TRIPLETS,
}
_OF_KIND = {
    "bi": _BI,
    "cross": _CROSS,
    "heads": _BI,
    "multi": _MULTI,
    "pair": _BI,
    "sparse": _SPARSE,
}


def forms(kind: str) -> dict[str, Form]:
    """Name of a loss in snake case -> how it reads rows, for a kind of model."""
    return dict(_OF_KIND[kind])


def form_of(name: str, kind: str) -> Form:
    """How a loss reads rows.

    >>> form_of("co_sent", "bi").make.__name__
    'likeness'
    """
    rest = _PLAIN if kind == "cross" else LISTS
    plain = {key.replace("_", ""): form for key, form in forms(kind).items()}
    return plain.get(name.replace("_", ""), rest)


def columns_of(
    listed: Sequence[Listed],
    width: int,
    form: Form,
    encode: Encode | None = None,
) -> Columns:
    """Rows as a loss reads them.

    Args:
        listed: the rows.
        width: texts a row at most.
        form: of the loss.
        encode: of a teacher, where the form has vectors.
    """
    columns = form.make(listed, width)
    if not form.has_vectors or encode is None:
        return columns
    # One vector for each column of a row: (rows, columns, numbers).
    vectors = []
    for texts in columns.values():
        words = [str(text) for text in texts]
        vectors.append(encode(words))
    return {**columns, "label": list(zip(*vectors, strict=True))}


def _each(listed: Sequence[Listed], width: int) -> Iterator[tuple[Listed, int]]:
    """(row, place of a text) of every text."""
    for row in listed:
        for place in range(min(width, len(row.documents))):
            yield row, place


def _score(row: Listed, place: int) -> float:
    return float(place == 0) if row.scores is None else row.scores[place]


def _numbers(values: Sequence[object]) -> Iterator[float]:
    for value in values:
        assert isinstance(value, float)  # noqa: S101 - made above
        yield value


def _texts(listed: Sequence[Listed], width: int) -> list[str]:
    """Every text once, in the order of its first place."""
    texts: dict[str, None] = {}
    for row in listed:
        texts |= dict.fromkeys((row.query, *row.documents[:width]))
    return list(texts)


def _damaged(text: str, draw: random.Random) -> str:
    words = text.split()
    stay = [word for word in words if draw.random() >= _DELETED]
    return " ".join(stay or words[:1])


def _filled(row: Listed, width: int) -> Listed:
    """The row with exactly `width` texts: its negatives again where there are too few.

    Raises:
        WrongUse: a row without a negative where others have some.
    """
    if len(row.documents) == 1 < width:
        raise WrongUse(
            "--input",
            f"no negative for {row.query[:60]!r}",
            "one for every row, or for none",
            "Mine some, or give --negatives 0.",
        )
    negatives = max(1, len(row.documents) - 1)
    places = [0, *(1 + place % negatives for place in range(width - 1))]
    scores = None
    if row.scores:
        scores = tuple(row.scores[place] for place in places)
    documents = tuple(row.documents[place] for place in places)
    return Listed(row.query, documents, scores, row.group)
