"""What a call costs: litellm's table, a pack's own prices, or the user's word."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from synth.errors import WrongUse
from synth.records import Completion, Request

# Roles, separators and reply priming: more than any chat template adds to a message.
_TOKENS_A_MESSAGE = 16
# What providers take of the full price for a batch, where the table does not say.
BATCH_SHARE = 0.5


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens: in, out, and in from the provider's cache (None: as any other)."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, completion: Completion) -> float:
        """Dollars of one reply. Reasoning tokens are part of the tokens out, cached ones of the tokens in."""
        cached = 0 if self.cached is None else min(completion.cached_tokens, completion.prompt_tokens)
        fresh = (completion.prompt_tokens - cached) * self.input + cached * (self.cached or 0.0)
        return (fresh + completion.completion_tokens * self.output) / 1e6

    def worst(self, request: Request) -> float:
        """Dollars that a request can cost at most: a token a byte in, none of them cached, and max_tokens out."""
        sent = sum(len(str(m["content"]).encode("utf-8", "replace")) + _TOKENS_A_MESSAGE for m in request.messages)
        return (sent * max(self.input, self.cached or 0.0) + (request.sampling.max_tokens or 0) * self.output) / 1e6


FREE = Price(0.0, 0.0)


def read_price(text: str, where: str) -> Price:
    """A price as people write it.

    >>> read_price("0.15,0.60", "--price")
    Price(input=0.15, output=0.6, cached=None)

    Raises:
        WrongUse: not two or three numbers from 0 on.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= n < 1e9 for n in numbers):
        raise WrongUse(where, f"{text!r}", "IN,OUT or IN,OUT,CACHED", "Dollars per million tokens, for example 0.15,0.60.")
    return Price(*numbers)


def price_of(teacher: str, given: str | None = None, *, own: Mapping[str, str] | None = None, batch: bool = False) -> Price | None:
    """The price of a teacher, or None where nobody knows it.

    Args:
        teacher: PROVIDER/MODEL.
        given: the user's `IN,OUT[,CACHED]`, which goes before everything.
        own: the pack's prices by teacher, which go before litellm's table.
        batch: the price of batches, from the table or half; `given` and `own` are taken as they stand.
    """
    if given is not None:
        return read_price(given, "--price")
    if own and teacher in own:
        return read_price(own[teacher], f"prices: {teacher}")
    provider, _, model = teacher.partition("/")
    if provider in ("simulated", "replay", "local", "rehearsed"):
        return FREE
    entry = _table().get(teacher) or _table().get(model) or {}
    return _listed(entry, batch=batch) if "input_cost_per_token" in entry and "output_cost_per_token" in entry else None


def _listed(entry: Mapping[str, float], *, batch: bool) -> Price:
    """An entry of litellm's table, whose figures are dollars a token."""

    def per_million(name: str) -> float | None:
        full = entry.get(name)
        said = entry.get(f"{name}_batches") if batch else full
        found = said if said is not None or full is None else full * BATCH_SHARE
        return None if found is None else found * 1e6

    return Price(
        per_million("input_cost_per_token") or 0.0, per_million("output_cost_per_token") or 0.0, per_million("cache_read_input_token_cost")
    )


@cache
def _table() -> Mapping[str, Mapping[str, float]]:
    """Litellm's price table, read from its files: importing litellm would take seconds."""
    spec = importlib.util.find_spec("litellm")
    for place in list(spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "model_prices_and_context_window_backup.json"
        if path.is_file():
            return dict(orjson.loads(path.read_bytes()))
    return {}
