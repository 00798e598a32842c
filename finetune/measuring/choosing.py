"""Which of several texts a student says likeliest behind a prompt, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from finetune.data.prompts import Prompt
from finetune.measuring.likelihoods import surprises


class Choice(NamedTuple):
    """What a student chose.

    Attributes:
        text: the likeliest choice, the first of equal ones.
        shares: of each choice, 0 to 1: its probability as a share of that of all choices.
        margin: 0 to 1: how far the largest share is above the second; 1 where there is one choice.
    """

    text: str
    shares: tuple[float, ...]
    margin: float


def choose(
    model: str, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]
) -> list[Choice]:
    """The choice of a student for each prompt, by the likelihood of each whole text.

    Args:
        model: a student's folder, or a name of the hub.
        prompts: texts or messages, which the student reads as it was trained.
        choices: of each prompt, one or more.
    """
    asked = []
    listed: list[str] = []
    for prompt, texts in zip(prompts, choices, strict=True):
        asked += [prompt] * len(texts)
        listed += texts
    logs = [-one.total for one in surprises(model, asked, listed)]
    made = []
    start = 0
    for texts in choices:
        made.append(chosen(texts, logs[start : start + len(texts)]))
        start += len(texts)
    return made


def chosen(texts: Sequence[str], logs: Sequence[float]) -> Choice:
    """The choice among texts of which the log-likelihoods (nats) are known.

    >>> chosen(["cat", "dog"], [math.log(0.3), math.log(0.1)])
    Choice(text='cat', shares=(0.75, 0.25), margin=0.5)
    """
    most = max(logs)
    weights = [math.exp(log - most) for log in logs]
    total = sum(weights)
    shares = tuple(round(weight / total, 6) for weight in weights)
    first, *others = sorted(shares, reverse=True)
    margin = round(first - others[0], 6) if others else 1.0
    return Choice(texts[logs.index(most)], shares, margin)
