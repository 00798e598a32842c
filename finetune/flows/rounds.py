"""Rounds of a loop: each once, written down when it is over, until nothing gets better."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from finetune.core.rows import JsonObject

Round = JsonObject


def play(
    path: Path,
    one: Callable[[int], Round],
    score: Callable[[Round], float],
    *,
    rounds: int,
    patience: int,
) -> list[Round]:
    """The rounds of PATH and those that are still to be played; the same call again goes on where
    it was stopped.

    Args:
        path: a .json file that holds the rounds.
        one: plays a round, by its number from 0.
        score: what should rise from round to round.
        rounds: at most.
        patience: rounds without a better score before it ends.
    """
    done: list[Round] = (
        json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    )
    while len(done) < rounds and not settled(
        [score(result) for result in done], patience
    ):
        done.append(one(len(done)))
        path.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")
    return done


def settled(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` rounds brought nothing better than what was before them.

    >>> settled([0.5, 0.4, 0.6], 2), settled([0.5, 0.4, 0.5], 2)
    (False, True)
    """
    return len(scores) > patience and max(scores[-patience:]) <= max(
        scores[:-patience]
    )
