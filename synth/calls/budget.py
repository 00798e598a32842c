"""Money is reserved before a call and settled after it, so that the cap cannot be crossed."""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import orjson

from synth.errors import BudgetReached, WrongUse
from synth.records import Completion, Request

# Roles, separators and reply priming: more than any chat template adds to a message.
_TOKENS_A_MESSAGE = 16


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens, in and out."""

    input: float
    output: float

    def cost(self, completion: Completion) -> float:
        """Dollars of one reply at full price (cached tokens too: an upper bound)."""
        return (completion.prompt_tokens * self.input + completion.completion_tokens * self.output) / 1e6

    def worst(self, request: Request) -> float:
        """Dollars that a request can cost at most: a token a byte in, max_tokens out."""
        sent = sum(len(str(m["content"]).encode("utf-8", "replace")) + _TOKENS_A_MESSAGE for m in request.messages)
        return (sent * self.input + (request.sampling.max_tokens or 0) * self.output) / 1e6


FREE = Price(0.0, 0.0)


def price_of(teacher: str, given: str | None) -> Price | None:
    """The price of a teacher: as given (`IN,OUT` dollars per million tokens), else from litellm's table; None if unknown."""
    if given is not None:
        try:
            low, high = (float(part) for part in given.split(","))
        except ValueError as error:
            raise WrongUse("--price", f"{given!r}", "IN,OUT", "Dollars per million tokens, for example 0.15,0.60.") from error
        return Price(low, high)
    provider, _, model = teacher.partition("/")
    if provider in ("simulated", "replay", "local"):
        return FREE
    table = _table()
    entry = table.get(teacher) or table.get(model) or {}
    known = "input_cost_per_token" in entry and "output_cost_per_token" in entry
    return Price(entry["input_cost_per_token"] * 1e6, entry["output_cost_per_token"] * 1e6) if known else None


def _table() -> dict[str, dict[str, float]]:
    """Litellm's price table, read from its files: importing litellm would take seconds."""
    spec = importlib.util.find_spec("litellm")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        path = Path(place) / "model_prices_and_context_window_backup.json"
        if path.is_file():
            return dict(orjson.loads(path.read_bytes()))
    return {}


class Budget:
    """One ledger for all teachers of a run: spent + reserved never exceeds the cap.

    Args:
        cap: dollars; None for no cap.
        spent: dollars that earlier runs on the same journal have spent.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap, self.spent, self.reserved = cap, spent, 0.0
        self._settled = asyncio.Condition()

    async def reserve(self, usd: float) -> None:
        """Sets money aside for a call, waiting for calls in flight to give back what they do not need.

        Raises:
            BudgetReached: the call could cross the cap and nothing in flight can make room.
        """
        if self.cap is None:
            return
        async with self._settled:
            while self.spent + self.reserved + usd > self.cap:
                if self.reserved <= 1e-12:
                    raise BudgetReached(f"${self.spent:.4f} of ${self.cap:.4f} spent; the next call could cost ${usd:.4f}")
                await self._settled.wait()
            self.reserved += usd

    async def settle(self, reserved: float, cost: float) -> None:
        """Gives a reservation back and books what the call really cost."""
        if self.cap is None:
            return
        async with self._settled:
            self.reserved = max(0.0, self.reserved - reserved)
            self.spent += cost
            self._settled.notify_all()
