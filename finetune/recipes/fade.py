"""A curriculum that takes a context away: all of it at first, nothing at the end (SKIntern,
arXiv:2409.13183).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from math import ceil, floor, log

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.recipes.curriculum import in_stages
from finetune.settings import TrainConfig
from synth.core.errors import WrongUse
from synth.text.sentences import sentences
from synth.text.words import terms, words

# Linear from all to nothing in four stages: the paper's best schedule (section 4.5).
STAGES = (1.0, 2 / 3, 1 / 3, 0.0)


def run(config: TrainConfig, *, stages: Sequence[float] = STAGES) -> JsonObject:
    """Trains stage after stage on `context`, `prompt`, `completion` (and `examples`, a list of
    texts), each from the weights before.

    Args:
        config: data, model, output, fields of the TRL config; steps or epochs are those of one
            stage.
        stages: share of each context's sentences and of its examples that is left (0 to 1), never
            rising, 0 at the end.

    Returns:
        The content of OUTPUT/train.json of the last stage, with the losses of all.

    Raises:
        WrongUse: stages that rise or do not end at 0; data or a model that cannot be used.
    """
    if (
        not stages
        or stages[-1] != 0
        or any(not 0 <= s <= 1 for s in stages)
        or list(stages) != sorted(stages, reverse=True)
    ):
        raise WrongUse(
            "--stages",
            f"{list(stages)}",
            "shares from 1 to 0 that never rise, 0 at the end",
            "For example 1,0.67,0.33,0.",
        )
    data = [
        dict(row)
        for row in rows.with_columns(
            config.data, ("context", "prompt", "completion")
        )
    ]
    each_row(
        data,
        lambda number, row: _check(row, f"--input {config.data} row {number}"),
    )
    said = [{"completion": row["completion"]} for row in data]
    rows.tell_nothing_said(said, config.data)
    weights = salience([row["context"] for row in data])
    draw = random.Random(0)

    def stage(share: float) -> list[JsonObject]:
        return [staged(row, share, weights, draw) for row in data]

    shown = [stage(share) for share in stages]
    return in_stages(config, shown, {"stages": list(stages)})


def staged(
    row: JsonObject,
    share: float,
    weights: dict[str, float],
    draw: random.Random,
) -> dict[str, str]:
    """A training row with so much of its context, and so many of its examples (drawn at random,
    rounded down), before the prompt.
    """
    examples = [str(text) for text in row.get("examples") or ()]
    shown = draw.sample(examples, floor(share * len(examples) + 1e-9))
    before = [
        part
        for part in (*shown, faded(str(row["context"]), share, weights))
        if part
    ]
    return {
        "prompt": "\n\n".join([*before, str(row["prompt"])]),
        "completion": str(row["completion"]),
    }


def salience(texts: Sequence[str]) -> dict[str, float]:
    """Inverse document frequency of each word: rare words say more."""
    counts = Counter(word for text in texts for word in set(terms(words(text))))
    return {
        word: log((1 + len(texts)) / (1 + count)) + 1
        for word, count in counts.items()
    }


def faded(text: str, share: float, weights: dict[str, float]) -> str:
    """The most telling sentences of a text, as many as the share says (rounded up), in their order;
    "" for 0.

    >>> faded("Add the parts. It is easy. Then halve.", 1 / 3, {"parts": 3.0, "halve": 2.0})
    'Add the parts.'
    """
    parts = sentences(text)
    count = ceil(share * len(parts) - 1e-9)

    def telling(position: int) -> float:
        own_terms = terms(words(parts[position]))
        return sum(weights.get(word, 1.0) for word in own_terms) / max(
            1, len(own_terms)
        )

    chosen = sorted(
        sorted(
            range(len(parts)),
            key=lambda position: (-telling(position), position),
        )[:count]
    )
    return "\n".join(parts[position] for position in chosen)


def _check(row: JsonObject, where: str) -> None:
    for name in ("context", "prompt", "completion"):
        if not isinstance(row[name], str):
            raise WrongUse(
                where,
                f"{name} = {row[name]!r}"[:80],
                "a text",
                "Write it as text, or take the row out.",
            )
    examples = row.get("examples") or []
    if not isinstance(examples, list):
        raise WrongUse(
            where,
            f"examples = {examples!r}"[:80],
            "a list of texts",
            "Write it as a list, or take the column out.",
        )
