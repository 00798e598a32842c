"""Verdicts weighed with the probabilities of their token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any


def expected(
    tokens: Sequence[Mapping[str, Any]], said: str, scale: Mapping[str, float]
) -> float:
    """The mean worth of the verdicts that could have stood at the last place of the verdict that
    was said.

    Only the last place counts: the same word or digit in the critique says nothing (it may quote).
    Probabilities of words outside the scale are shared out over those in it, so that the result is
    0 to 1.

    Args:
        tokens: `logprobs.content` of an OpenAI reply: {"token", "logprob", "top_logprobs":
            [{"token", "logprob"}]}, natural logarithms.
        said: the verdict as it was read, folded.
        scale: folded verdict -> worth (0 to 1).

    >>> top = [
    ...     {"token": "yes", "logprob": -0.1},
    ...     {"token": " Yes", "logprob": -5.0},
    ...     {"token": "no", "logprob": -2.4},
    ... ]
    >>> round(
    ...     expected(
    ...         [{"token": "yes", "logprob": -0.1, "top_logprobs": top}],
    ...         "yes",
    ...         {"yes": 1.0, "no": 0.0},
    ...     ),
    ...     3,
    ... )
    0.909
    """
    sound = [
        t
        for t in tokens
        if isinstance(t, Mapping) and isinstance(t.get("logprob"), int | float)
    ]
    place = next(
        (
            token
            for token in reversed(sound)
            if _word(token) and said.startswith(_word(token))
        ),
        None,
    )
    if place is None:
        return scale.get(said, 0.0)
    shares: dict[str, float] = {}
    for option in {
        str(o.get("token", "")): o
        for o in (*(place.get("top_logprobs") or ()), place)
    }.values():
        word = _word(option)
        name = (
            said
            if word and said.startswith(word)
            else next(
                (known for known in scale if word and known.startswith(word)),
                word,
            )
        )
        if word:
            shares[name] = shares.get(name, 0.0) + exp(float(option["logprob"]))
    known = {
        name: share
        for name, share in shares.items()
        if name in scale or name == said
    }
    return sum(
        share * scale.get(name, 0.0) for name, share in known.items()
    ) / sum(known.values())


def _word(token: Mapping[str, Any]) -> str:
    """A token without the marks of its tokenizer, folded."""
    return (
        str(token.get("token", ""))
        .strip(" \t\n\u0120\u2581.,:;<>/*\"'")
        .casefold()
    )
