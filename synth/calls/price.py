"""What a call costs, by litellm's table or the user's word, and what it can cost at most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeGuard

from synth.core.errors import WrongUse
from synth.core.records import (
    Completion,
    Fields,
    Request,
    Values,
    canonical_json,
)
from synth.replies.schemas import in_words
from synth.teachers.wire.access import WITHOUT_ENDPOINT
from synth.teachers.wire.model_table import model_entry

# Roles, separators and reply priming: more than any chat template adds to a message.
_TOKENS_A_MESSAGE = 16
# What a server may put before a conversation by itself: a default system message, and words that
# explain tools or a schema (Anthropic documents up to 530 tokens for tools).
_TOKENS_A_REQUEST = 128
_TOKENS_OF_TOOLS = 1024
# An image at most: 48,169 of gpt-4o-mini, at high detail; other models count far less.
_TOKENS_AN_IMAGE = 50_000
# What providers take of the full price for a batch, where the table does not say.
BATCH_SHARE = 0.5
# Fields that bound a reply's tokens; where several stand, a server may follow any of them.
_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# Fields that ask for several replies, all of which are billed.
_REPLIES = ("n", "best_of", "num_return_sequences")
# Fields for which providers charge by other units than tokens, or by another list of prices.
_UNPRICED = frozenset(
    {
        "audio",
        "enable_search",
        "extra_body",
        "mcp_servers",
        "modalities",
        "plugins",
        "search_parameters",
        "service_tier",
        "web_search_options",
    }
)
_STANDARD_TIERS = ("default", "flex", "standard")


def unbounded(body: Values) -> str:
    """Why nobody can say what a request costs at most; "" where its fields bound it.

    >>> unbounded({"max_tokens": 5}), unbounded({"max_tokens": 5, "n": "many"}), unbounded({})
    ('', "n: 'many'", 'no max_tokens')
    """
    for name in sorted(_UNPRICED & body.keys()):
        if name != "service_tier" or body[name] not in _STANDARD_TIERS:
            return f"{name}: {body[name]!r}"[:80]
    for name in (*_BOUNDS, *_REPLIES, "min_tokens"):
        if body.get(name) is not None and not _is_count(body[name]):
            return f"{name}: {body[name]!r}"[:80]
    if all(body.get(name) is None for name in _BOUNDS):
        return "no max_tokens"
    if body.get("enable_thinking") and not _is_count(
        body.get("thinking_budget")
    ):
        return "enable_thinking without thinking_budget"
    tools = body.get("tools") or []
    other = [
        tool
        for tool in tools
        if not (isinstance(tool, Mapping) and tool.get("type") == "function")
    ]
    return f"tools: {other[0]!r}"[:80] if other else ""


def require_bound(body: Values, where: str, todo: str) -> None:
    """Raises WrongUse where nobody can say what a request with such fields costs at most."""
    if why := unbounded(body):
        raise WrongUse(
            "--budget",
            f"{where} with {why}",
            "a bound for the cost of each reply",
            todo,
        )


def most_tokens(body: Values) -> int:
    """Tokens that a request's replies can have at most, reasoning and rejected predictions
    included; 0 where nothing bounds them.

    >>> most_tokens({"max_tokens": 5, "max_completion_tokens": 8, "n": 2})
    16
    """
    bounds = [
        body[name]
        for name in (*_BOUNDS, "min_tokens")
        if _is_count(body.get(name))
    ]
    replies = [body[name] for name in _REPLIES if _is_count(body.get(name))]
    # A thought's budget is part of the bound at most providers, and comes on top of it at some.
    thoughts = [body.get(name) for name in _THOUGHT_BUDGETS]
    for spec in (
        body.get("thinking"),
        body.get("reasoning"),
        body.get("chat_template_kwargs"),
    ):
        if isinstance(spec, Mapping):
            thoughts += [spec.get(name) for name in _THOUGHT]
    thought = sum(count for count in thoughts if _is_count(count))
    predicted = (
        len(canonical_json(body["prediction"])) if body.get("prediction") else 0
    )
    return (max(bounds, default=0) + thought + predicted) * max(
        replies, default=1
    )


_THOUGHT_BUDGETS = (
    "thinking_budget",
    "thinking_token_budget",
    "thinking_tokens",
)
_THOUGHT = ("budget_tokens", "max_tokens", "thinking_budget")


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= 10**9


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens.

    Attributes:
        input: in.
        output: out.
        cached: in, read from the provider's cache; None: as any other.
        written: in, written to the provider's cache, at the longest life that it sells; None: as
            any other.
        reasoning: out, of reasoning; None: as any other.
        long: prices of requests with more than `beyond` tokens in; None: the same.
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    reasoning: float | None = None
    beyond: int = 0
    long: Price | None = None

    def cost(self, completion: Completion) -> float:
        """Dollars of one reply. Reasoning tokens are part of the tokens out, cached and written
        ones of the tokens in.
        """
        said = completion
        if self.long and said.prompt_tokens > self.beyond:
            return self.long.cost(said)
        if self.cached is self.written is self.reasoning is None:
            sent = said.prompt_tokens * self.input
            return (sent + said.completion_tokens * self.output) / 1e6
        cached = (
            0
            if self.cached is None
            else min(said.cached_tokens, said.prompt_tokens)
        )
        written = (
            0
            if self.written is None
            else min(said.cache_write_tokens, said.prompt_tokens - cached)
        )
        thought = (
            0
            if self.reasoning is None
            else min(said.reasoning_tokens, said.completion_tokens)
        )
        sent = (
            (said.prompt_tokens - cached - written) * self.input
            + cached * (self.cached or 0.0)
            + written * (self.written or 0.0)
        )
        made = (said.completion_tokens - thought) * self.output + thought * (
            self.reasoning or 0.0
        )
        return (sent + made) / 1e6

    def worst(self, request: Request) -> float:
        """Dollars that a request can cost at most: a token a byte in, all at the dearest rate, and
        every token out that it may have.
        """
        body = request.body()
        sent = (
            len(canonical_json(body))
            + _TOKENS_A_REQUEST
            + _TOKENS_A_MESSAGE * len(request.messages)
        )
        if (
            body.get("tools")
            or body.get("functions")
            or body.get("response_format")
        ):
            sent += _TOKENS_OF_TOOLS
        if request.schema is not None:
            # A server may be told of it in words as well.
            sent += len(in_words(request.schema).encode())
        sent += _TOKENS_AN_IMAGE * _images(request)
        prices = (
            [self, self.long] if self.long and sent > self.beyond else [self]
        )
        sent_price = max(
            rate
            for price in prices
            for rate in (price.input, price.cached or 0.0, price.written or 0.0)
        )
        made_price = max(
            rate
            for price in prices
            for rate in (price.output, price.reasoning or 0.0)
        )
        return (sent * sent_price + most_tokens(body) * made_price) / 1e6


def _images(request: Request) -> int:
    """Images in the messages of a request."""
    contents = [message.get("content") for message in request.messages]
    listed = [content for content in contents if isinstance(content, list)]
    parts = chain.from_iterable(listed)
    return sum("image_url" in part for part in parts)


FREE = Price(0.0, 0.0)


def read_price(text: str, where: str) -> Price:
    """A price as people write it.

    >>> read_price("0.15,0.60", "--price")
    Price(input=0.15, output=0.6, cached=None, written=None, reasoning=None, beyond=0, long=None)

    Raises:
        WrongUse: not two to four numbers from 0 on.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3, 4) or not all(0 <= n < 1e9 for n in numbers):
        wanted = "IN,OUT or IN,OUT,CACHED or IN,OUT,CACHED,WRITTEN"
        raise WrongUse(
            where,
            f"{text!r}",
            wanted,
            "Dollars per million tokens, for example 0.15,0.60.",
        )
    cached, written = [*numbers[2:], None, None][:2]
    return Price(numbers[0], numbers[1], cached, written)


def price_of(
    teacher: str, given: str | None = None, *, batch: bool = False
) -> Price | None:
    """The price of a teacher, or None where nobody knows it.

    Args:
        teacher: PROVIDER/MODEL.
        given: the user's `IN,OUT[,CACHED[,WRITTEN]]`, which goes before the table.
        batch: the price of batches, from the table or half; `given` is taken as it stands.
    """
    if given is not None:
        return read_price(given, "--price")
    provider, _, model = teacher.partition("/")
    if provider in WITHOUT_ENDPOINT:
        return FREE
    entry = model_entry(teacher) or model_entry(model)
    if "input_cost_per_token" in entry and "output_cost_per_token" in entry:
        return _listed(entry, batch=batch)
    return None


def no_price(teacher: str, role: str, hint: str = "") -> WrongUse:
    """What is said where a budget must hold, and nobody knows what a teacher costs."""
    todo = f"Give --price {role}=IN,OUT in dollars per million tokens.{hint}"
    return WrongUse(
        "--budget",
        f"no known price for {teacher}",
        "a price, to keep the cap",
        todo,
    )


# An entry's names of prices beyond a length of the request, such as
# `input_cost_per_token_above_200k_tokens`.
_LONG = re.compile(r"_above_(\d+)k_tokens$")
_COLUMNS = {
    "input": ("input_cost_per_token",),
    "output": ("output_cost_per_token",),
    "cached": ("cache_read_input_token_cost",),
    "written": (
        "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr",
    ),
    "reasoning": ("output_cost_per_reasoning_token",),
}


def _listed(entry: Values, *, batch: bool) -> Price:
    """An entry of litellm's table, whose figures are dollars a token."""
    plain: Fields = _columns(entry, "", batch=batch)
    lengths = sorted(
        {int(match[1]) for name in entry if (match := _LONG.search(name))}
    )
    if not lengths:
        return Price(**plain)
    # Where several lengths have prices, the dearest stands for all beyond the first.
    long = dict(plain)
    for length in lengths:
        for name, value in _columns(
            entry, f"_above_{length}k_tokens", batch=batch
        ).items():
            long[name] = max(value, long.get(name, 0.0))
    return Price(**plain, beyond=lengths[0] * 1000, long=Price(**long))


def _columns(entry: Values, suffix: str, *, batch: bool) -> dict[str, float]:
    """The prices of an entry that it lists, per million tokens; of several that fit, the
    dearest.
    """
    dearest = {}
    for column, names in _COLUMNS.items():
        prices = [_a_token(entry, name + suffix, batch=batch) for name in names]
        listed = [price * 1e6 for price in prices if price is not None]
        if listed:
            dearest[column] = max(listed)
    return dearest


def _a_token(entry: Values, name: str, *, batch: bool) -> float | None:
    full = entry.get(name)
    listed = entry.get(f"{name}_batches") if batch else full
    if listed is None and full is not None:
        listed = full * BATCH_SHARE
    return None if listed is None else float(listed)
