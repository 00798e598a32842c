"""How likely a student finds texts behind prompts, and its perplexity on each domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.data.prompts import (
    Prompt,
    Template,
    of_student,
    rendered,
    text_of,
)
from finetune.data.shapes import text_or_messages
from finetune.scoring.models import Model, check_decoder, loss
from synth.core.errors import WrongUse
from synth.core.records import Row


class Surprise(NamedTuple):
    """How unlikely a text is.

    Attributes:
        mean: negative log-likelihood of a token, in nats.
        tokens: of the text.
    """

    mean: float
    tokens: int

    @property
    def total(self) -> float:
        """Of the whole text, in nats."""
        return self.mean * self.tokens


def surprises(
    model: str,
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    template: Template | None = None,
) -> list[Surprise]:
    """How unlikely each text is behind its prompt.

    Args:
        model: a student's folder, or a name of the hub.
        prompts: texts or messages; "" for a text without one.
        texts: as many.
        template: whether prompts go through its chat template; None for the form in which the
            model was trained.

    Raises:
        WrongUse: no such model, or none that is a decoder.
    """
    opened = Model("loss", model)
    check_decoder(opened)
    template = template or of_student(model)
    pairs = []
    for prompt, text in zip(prompts, texts, strict=True):
        before = ""
        if prompt:
            before, _ = rendered(prompt, opened.tokenizer, template)
        pairs.append([before, text])
    told = loss(opened, {"pairs": pairs})
    return list(map(Surprise, told["nll"], told["tokens"]))


def perplexities(
    model: str,
    rows: Sequence[Row],
    column: str,
    where: str,
    template: Template | None = None,
) -> dict[str, float]:
    """Domain -> exp of the mean negative log-likelihood over all tokens of its rows' completions,
    from 1 on; the domains in the order of their first rows.

    Args:
        model: a student's folder, or a name of the hub.
        rows: with `column`, and `prompt` and `completion`, or `text`.
        column: the one that says the domain.
        where: what asks for it, for messages.
        template: see `surprises`.

    Raises:
        WrongUse: no row, a row without a domain or a text, or a domain whose texts have no token.
    """
    found = surprises(model, *pairs_of(rows, where, (column,)), template)
    totals: dict[str, list[float]] = {}
    for row, one in zip(rows, found, strict=True):
        sums = totals.setdefault(str(row[column]), [0.0, 0.0])
        sums[0] += one.total
        sums[1] += one.tokens
    for domain, (_, tokens) in totals.items():
        if not tokens:
            raise WrongUse(
                where, f"{domain} without a token", "texts", "Bring some."
            )
    if not totals:
        raise WrongUse(where, "no row", "held-out rows", "Bring some.")
    return {
        domain: math.exp(nats / tokens)
        for domain, (nats, tokens) in totals.items()
    }


def pairs_of(
    rows: Sequence[Row], where: str, also: Sequence[str] = ()
) -> tuple[list[Prompt], list[str]]:
    """(prompts, texts behind them) of rows of `prompt` and `completion`, or of `text`, whose prompt
    is "".

    Args:
        rows: that are read.
        where: what asks for them, for messages.
        also: other columns that a row must have.

    Raises:
        WrongUse: a row without a text, or without one of these columns, or a cell that is neither
            a text nor a list of messages.
    """
    prompts: list[Prompt] = []
    texts = []
    for number, row in enumerate(rows, 1):
        place = f"{where} row {number}"
        said: JsonObject = dict(row)
        text = said.get("text", said.get("completion"))
        if text is None or any(said.get(name) is None for name in also):
            raise WrongUse(
                where,
                f"columns {', '.join(row)}",
                "; ".join(["prompt and completion, or text", *also]),
                "Name the columns so.",
            )
        name = "text" if "text" in row else "completion"
        texts.append(text_of(text_or_messages(said, name, place)))
        prompt: Prompt = ""
        if name == "completion" and said.get("prompt"):
            prompt = text_or_messages(said, "prompt", place)
        prompts.append(prompt)
    return prompts, texts
