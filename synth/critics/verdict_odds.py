"""Verdicts weighed with the probabilities of their token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf
from typing import Any

from synth.core.records import Values

# Logarithms of probabilities are at most 0; servers that round may say a little more.
_MOST = 1.0


def expected(
    tokens: Sequence[Values],
    verdict: str,
    scale: Mapping[str, float],
) -> float:
    """The mean worth of the verdicts that could have stood at the last token of the verdict that
    was said.

    Only the last place counts: the same word or digit in the critique says nothing (it may quote).
    Probabilities of words outside the scale are shared out over those in it, so that the result is
    0 to 1.

    Args:
        tokens: `logprobs.content` of an OpenAI reply: {"token", "logprob", "top_logprobs":
            [{"token", "logprob"}]}, natural logarithms.
        verdict: as it was read, folded.
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
    verdict_token = next(
        (
            token
            for token in reversed(_sound(tokens))
            if _word(token) and verdict.startswith(_word(token))
        ),
        None,
    )
    if verdict_token is None:
        return scale.get(verdict, 0.0)
    shares: dict[str, float] = {}
    options = _sound(
        [*(verdict_token.get("top_logprobs") or ()), verdict_token]
    )
    for option in {str(o.get("token", "")): o for o in options}.values():
        word = _word(option)
        name = (
            verdict
            if word and verdict.startswith(word)
            else next(
                (
                    shares_in_scale
                    for shares_in_scale in scale
                    if word and shares_in_scale.startswith(word)
                ),
                word,
            )
        )
        if word:
            shares[name] = shares.get(name, 0.0) + exp(float(option["logprob"]))
    shares_in_scale = {
        name: share
        for name, share in shares.items()
        if name in scale or name == verdict
    }
    total = sum(shares_in_scale.values())
    if not 0 < total < inf:
        return scale.get(
            verdict, 0.0
        )  # of no likelihood at all: as it was said
    return (
        sum(
            share * scale.get(name, 0.0)
            for name, share in shares_in_scale.items()
        )
        / total
    )


def _sound(tokens: Sequence[Any]) -> list[Values]:
    """Tokens with a logarithm of a probability."""
    return [
        token
        for token in tokens
        if isinstance(token, Mapping)
        and isinstance(token.get("logprob"), int | float)
        and token["logprob"] < _MOST
    ]


def _word(token: Values) -> str:
    """A token without the marks of its tokenizer, folded."""
    return (
        str(token.get("token", ""))
        .strip(" \t\n\u0120\u2581.,:;<>/*\"'")
        .casefold()
    )
