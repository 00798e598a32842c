"""How new, how varied and how complete a set of statements is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log2

from synth.text.words import words


def novelty(texts: Sequence[str], known: Sequence[str]) -> float:
    """Share of the different texts that the known ones do not hold, case and punctuation aside, 0
    to 1.

    >>> novelty(["to eat.", "to sleep"], ["To eat"])
    0.5
    """
    old = {tuple(words(text)) for text in known}
    different = {tuple(words(text)) for text in texts}
    if not different:
        return 0.0
    new = different - old
    return len(new) / len(different)


def diversity(texts: Sequence[str]) -> dict[str, float]:
    """Share of different texts, of words and pairs of words among all (distinct-1, distinct-2, Li
    et al. 2016), entropy of words in bits.

    >>> diversity(["to eat", "to eat", "to sleep"])["different"]
    0.6667
    """
    split = [words(text) for text in texts]
    different = set(map(tuple, split))
    singles = [word for text in split for word in text]
    pairs = [pair for text in split for pair in pairwise(text)]
    counts = Counter(singles)
    entropy = 0.0
    for count in counts.values():
        share = count / len(singles)
        entropy -= share * log2(share)
    measures = {
        "different": _ratio(len(different), len(texts)),
        "distinct_1": _ratio(len(counts), len(singles)),
        "distinct_2": _ratio(len(set(pairs)), len(pairs)),
        "word_entropy": entropy,
    }
    return {name: round(value, 4) for name, value in measures.items()}


def _ratio(part: float, whole: int) -> float:
    """A share, 0 of nothing."""
    return part / max(1, whole)


def nli_precision_recall(
    pairs: Sequence[tuple[str, Sequence[str]]], model: str
) -> tuple[float, float]:
    """How far propositions are said by their sentence, and the sentence by all of them (Hosseini et
    al., arXiv:2406.19803).

    Args:
        pairs: (sentence, its propositions).
        model: a natural language inference model.

    Returns:
        (mean probability that the sentence entails a proposition, mean probability that all
        propositions entail the sentence).
    """
    down = [
        (sentence, proposition)
        for sentence, propositions in pairs
        for proposition in propositions
    ]
    up = [
        (" ".join(propositions), sentence) for sentence, propositions in pairs
    ]
    precision = _mean_entailment(down, model)
    recall = _mean_entailment(up, model)
    return precision, recall


def _mean_entailment(pairs: Sequence[tuple[str, str]], model: str) -> float:
    """The mean probability that the first text of a pair entails the second."""
    from synth.local_models.scores import entailment  # noqa: PLC0415 - a process of its own

    chances = [yes for yes, _ in entailment(pairs, model)]
    return _ratio(sum(chances), len(chances))


def coverage(
    pairs: Sequence[tuple[Sequence[str], Sequence[str]]],
    model: str,
    least: float = 0.88,
) -> float:
    """Share of the wanted statements whose nearest made one is as near as `least` (cosine), 0 to 1.

    Args:
        pairs: (made, wanted) of each seed.
        model: see `synth.local_models.scores.vectors`.
        least: Distill-SynthKG (arXiv:2410.16597) is quoted with .88.
    """
    from synth.local_models.scores import vectors  # noqa: PLC0415 - numpy, for those who need it

    every: dict[str, None] = {}
    for made, wanted in pairs:
        every.update(dict.fromkeys(made))
        every.update(dict.fromkeys(wanted))
    texts = list(every)
    table = vectors(texts, model)
    row_of = {text: row for row, text in enumerate(texts)}
    hits = total = 0
    for made, wanted in pairs:
        total += len(wanted)
        if not made or not wanted:
            continue
        made_rows = [row_of[text] for text in made]
        wanted_rows = [row_of[text] for text in wanted]
        cosines = table[wanted_rows] @ table[made_rows].T
        nearest = cosines.max(axis=1)
        hits += int((nearest >= least).sum())
    return _ratio(hits, total)
