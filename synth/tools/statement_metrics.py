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
    held = {tuple(words(text)) for text in known}
    made = {tuple(words(text)) for text in texts}
    return len(made - held) / len(made) if made else 0.0


def diversity(texts: Sequence[str]) -> dict[str, float]:
    """Share of different texts, of words and pairs of words among all (distinct-1, distinct-2, Li
    et al. 2016), entropy of words in bits.

    >>> diversity(["to eat", "to eat", "to sleep"])["different"]
    0.6667
    """
    split = [words(text) for text in texts]
    singles = [word for text in split for word in text]
    pairs = [pair for text in split for pair in pairwise(text)]
    shares = [count / len(singles) for count in Counter(singles).values()]
    measures = {
        "different": len(set(map(tuple, split))) / max(1, len(split)),
        "distinct_1": len(shares) / max(1, len(singles)),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "word_entropy": -sum(share * log2(share) for share in shares),
    }
    return {name: round(value, 4) for name, value in measures.items()}


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
    from synth.local_models.scores import entailment  # noqa: PLC0415 - a process of its own

    down = entailment(
        [(sentence, one) for sentence, made in pairs for one in made], model
    )
    up = entailment(
        [(" ".join(made), sentence) for sentence, made in pairs], model
    )
    return sum(yes for yes, _ in down) / max(1, len(down)), sum(
        yes for yes, _ in up
    ) / max(1, len(up))


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

    texts = list(
        dict.fromkeys(
            text for made, wanted in pairs for text in (*made, *wanted)
        )
    )
    table = vectors(texts, model)
    places = {text: index for index, text in enumerate(texts)}
    hits = total = 0
    for made, wanted in pairs:
        total += len(wanted)
        if made and wanted:
            cosines = (
                table[[places[t] for t in wanted]]
                @ table[[places[t] for t in made]].T
            )
            hits += int((cosines.max(axis=1) >= least).sum())
    return hits / max(1, total)
