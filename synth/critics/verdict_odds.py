"""Verdicts weighed with the probabilities of their token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp

from synth.core.records import Values


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
    sound = [
        t
        for t in tokens
        if isinstance(t, Mapping) and isinstance(t.get("logprob"), int | float)
    ]
    verdict_token = next(
        (
            token
            for token in reversed(sound)
            if _word(token) and verdict.startswith(_word(token))
        ),
        None,
    )
    if verdict_token is None:
        return scale.get(verdict, 0.0)
    shares: dict[str, float] = {}
    for option in {
        str(o.get("token", "")): o
        for o in (*(verdict_token.get("top_logprobs") or ()), verdict_token)
    }.values():
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
    return sum(
        share * scale.get(name, 0.0) for name, share in shares_in_scale.items()
    ) / sum(shares_in_scale.values())


def _word(token: Values) -> str:
    """A token without the marks of its tokenizer, folded."""
    return (
        str(token.get("token", ""))
        .strip(" \t\n\u0120\u2581.,:;<>/*\"'")
        .casefold()
    )
