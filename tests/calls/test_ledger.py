"""Prices, journal, index and gate against plain models of them."""

from __future__ import annotations

import asyncio
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.calls import token_counter
from synth.calls.journal import Journal, records
from synth.calls.journal_index import Index
from synth.calls.pace import FLOOR, MARGIN, Pace
from synth.calls.price import (
    Price,
    most_tokens,
    read_price,
    require_bound,
    unbounded,
)
from synth.calls.reading import mean_logprob
from synth.calls.refusals import (
    Epoch,
)
from synth.core.errors import WrongUse
from synth.core.records import Completion, Request, Sampling
from tests.tables import cells, table

RATES = st.floats(0, 100)
MAYBE = st.none() | RATES
PRICES = st.builds(Price, RATES, RATES, MAYBE, MAYBE, MAYBE)
COUNTS = st.integers(0, 5000)
LONG = st.builds(
    lambda short, long, beyond: Price(
        short.input, short.output, short.cached, beyond=beyond, long=long
    ),
    PRICES,
    PRICES,
    st.integers(0, 3000),
)


@st.composite
def replies(draw: st.DrawFn) -> Completion:
    """A completion whose parts are within its wholes."""
    sent, made = draw(COUNTS), draw(COUNTS)
    cached = draw(st.integers(0, sent))
    return Completion(
        "x",
        prompt_tokens=sent,
        completion_tokens=made,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, sent - cached)),
        reasoning_tokens=draw(st.integers(0, made)),
    )


def test_long_requests_have_their_own_price():
    price = Price(1, 1, beyond=10, long=Price(5, 7))
    short = Completion("x", prompt_tokens=10, completion_tokens=1)
    long = Completion("x", prompt_tokens=11, completion_tokens=1)
    assert price.cost(short) == pytest.approx(11 / 1e6)
    assert price.cost(long) == pytest.approx((55 + 7) / 1e6)
    request = Request(model="m", messages=({"role": "user", "content": "a"},))
    alone = Price(5, 7).worst(request)
    assert price.worst(request) == alone > Price(1, 1).worst(request)


@given(PRICES, replies())
def test_each_token_is_paid_once_at_its_own_rate(price, said):
    plain = {"input": price.input, "output": price.output}
    rates = [plain["input"]] * said.prompt_tokens
    parts = [
        (price.cached, said.cached_tokens),
        (price.written, said.cache_write_tokens),
    ]
    at = 0
    for rate, count in parts:
        if rate is not None:
            rates[at : at + count] = [rate] * count
            at += count
    made = [plain["output"]] * said.completion_tokens
    if price.reasoning is not None:
        made[: said.reasoning_tokens] = [
            price.reasoning
        ] * said.reasoning_tokens
    assert price.cost(said) == pytest.approx(sum(rates + made) / 1e6)


@given(
    PRICES | LONG,
    st.text(max_size=300),
    st.integers(1, 500),
    st.integers(1, 3),
    st.data(),
)
def test_no_reply_costs_more_than_its_worst_case(price, text, most, n, data):
    request = Request(
        model="m",
        messages=({"role": "user", "content": text},),
        sampling=Sampling(max_tokens=most, extra={"n": n}),
    )
    # A tokenizer makes at most one token of a byte, and a template adds a few.
    sent = data.draw(st.integers(0, len(text.encode()) + 20))
    made = data.draw(st.integers(0, most * n))
    cached = data.draw(st.integers(0, sent))
    said = Completion(
        "x",
        prompt_tokens=sent,
        completion_tokens=made,
        cached_tokens=cached,
        reasoning_tokens=made,
    )
    assert price.cost(said) <= price.worst(request) * (1 + 1e-9)
    assert most_tokens(request.body()) == most * n


@pytest.mark.parametrize(
    ("body", "most"),
    table(
        r"""
{} | 0
{'max_tokens': 5} | 5
{'max_tokens': 5, 'max_output_tokens': 9} | 9
{'max_tokens': 5, 'n': 3, 'best_of': 4} | 20
{'max_tokens': 5, 'min_tokens': 7} | 7
{'max_tokens': 5, 'thinking': {'budget_tokens': 100}} | 105
{'max_tokens': 5, 'reasoning': {'max_tokens': 10}, 'n': 2} | 30
{'max_tokens': True} | 0
{'max_tokens': 5, 'thinking_budget': 7, 'thinking': 'on'} | 12
{'max_tokens': 5, 'prediction': {'a': 1}} | 12
{'max_tokens': 2.0} | 0
"""
    ),
)
def test_tokens_that_replies_can_have(body, most):
    assert most_tokens(body) == most


@pytest.mark.parametrize(
    ("body", "why"),
    [
        *table(
            r"""
{'max_tokens': 5} | ''
{'max_completion_tokens': 0} | ''
{} | 'no max_tokens'
{'max_tokens': None} | 'no max_tokens'
{'max_tokens': True} | 'max_tokens: True'
{'max_tokens': -1} | 'max_tokens: -1'
{'max_tokens': 5, 'n': 1.5} | 'n: 1.5'
{'max_tokens': 5, 'n': None} | ''
{'max_tokens': 5, 'service_tier': 'flex'} | ''
{'max_tokens': 5, 'service_tier': 'priority'} | "service_tier: 'priority'"
{'max_tokens': 5, 'plugins': []} | 'plugins: []'
{'max_tokens': 5, 'enable_thinking': True} | 'enable_thinking without thinking_budget'
{'max_tokens': 5, 'enable_thinking': True, 'thinking_budget': 9} | ''
{'max_tokens': 5, 'tools': [{'type': 'function'}]} | ''
{'max_tokens': 5, 'tools': [{'type': 'web_search'}]} | "tools: {'type': 'web_search'}"
{'max_tokens': 5, 'tools': ['x']} | "tools: 'x'"
"""
        ),
        ({"max_tokens": 10**10}, "max_tokens: 10000000000"),
    ],
)
def test_why_nobody_can_bound_a_request(body, why):
    assert unbounded(body) == why
    if not why:
        require_bound(body, "step a", "Set it.")
        return
    with pytest.raises(WrongUse) as error:
        require_bound(body, "step a", "Set it.")
    assert str(error.value).startswith(
        f"--budget: found step a with {why}; wanted a bound"
    )
    assert str(error.value).endswith("Set it.")


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=4))
def test_a_price_is_read_back(numbers):
    text = " , ".join(map(repr, numbers))
    price = read_price(text, "--price")
    given_parts = [price.input, price.output, price.cached, price.written]
    assert given_parts == [*numbers, None, None][:4]


@pytest.mark.parametrize(
    "text",
    cells(
        r"""
'' | '1' | '1,' | ',' | 'a,b' | '1,2,3,4,5' | '-1,2' | 'inf,1' | 'nan,nan' | '1e9,1' | '1;2'
"""
    ),
)
def test_what_is_no_price_is_refused(text):
    with pytest.raises(WrongUse, match=r"--price.*for example 0\.15,0\.60"):
        read_price(text, "--price")


# The last keys lie at the end of a table, behind which it goes on at its beginning.
NUMBERS = st.integers(0, 2**64 - 1) | st.integers(2**64 - 2000, 2**64 - 1)
KEYS = NUMBERS.map(lambda number: f"{number:016x}" + "0" * 48)


@settings(max_examples=40)
@given(
    st.lists(KEYS | st.integers(0, 9).map(lambda n: f"{n:064x}"), max_size=120),
    st.integers(0, 300),
)
def test_the_index_is_a_dictionary_of_lists(keys, expected):
    index = Index()
    index.expect(expected)
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        index.add(key, place * 1000)
        places.setdefault(key[:16], []).append(place * 1000)
    assert index.count == len(keys)
    for key, offsets in places.items():
        tried: list[int] = []
        assert (
            index.get(key, lambda at, tried=tried: bool(tried.append(at)))
            is None
        )
        assert {*offsets} <= {*tried}
        last = offsets[-1]
        assert index.get(key, lambda at, last=last: at == last) == last


RAW = st.binary(max_size=9000).map(
    lambda raw: b'{"x":"' + raw.replace(b"\n", b"") + b'"}'
)
EVENTS = st.tuples(
    st.sampled_from(["reply", "intend", "no_reply"]),
    st.integers(0, 4),
    st.integers(0, 1000),
    RAW,
)


@settings(max_examples=25)
@given(st.lists(EVENTS, max_size=12), st.sets(st.integers(0, 4)))
def test_a_journal_that_is_opened_again_is_its_plain_model(
    tmp_path_factory, events, under_way
):
    folder = tmp_path_factory.mktemp("journal")
    names = [f"{zlib.crc32(bytes([n])):08x}{n:056x}" for n in range(5)]
    first: dict[str, bytes] = {}
    open_calls: dict[str, float] = {}
    spent = 0.0
    sent = 0

    async def work() -> None:
        nonlocal spent, sent
        journal = Journal(folder)
        for kind, which, cents, raw in events:
            key, usd = names[which], cents / 100
            if kind == "intend":
                journal.intend(key, usd)
                open_calls[key] = usd
                continue
            open_calls.pop(key, None)
            spent += usd
            if kind == "reply":
                said = Completion("", prompt_tokens=cents)
                await journal.append(key, raw, said, usd)
                first.setdefault(key, raw)
                sent += cents
            else:
                journal.no_reply(key, usd)
        await asyncio.sleep(0.01)
        await journal.close()

    asyncio.run(work())
    known = {names[n] for n in under_way}
    reader = Journal(folder, writable=False, under_way=known)
    assert reader.totals.usd == pytest.approx(spent)
    reader.release()
    journal = Journal(folder, under_way=known)
    lost = {key: usd for key, usd in open_calls.items() if key not in known}
    assert journal.totals.usd == pytest.approx(spent + sum(lost.values()))
    assert (journal.totals.unknown, journal.totals.prompt_tokens) == (
        len(lost),
        sent,
    )
    assert {key: journal.get(key) for key in names if journal.get(key)} == first
    assert journal.torn == 0
    journal.release()
    written = [key for key, _ in records(folder)]
    assert len(written) == sum(kind == "reply" for kind, *_ in events)


def test_a_line_in_the_middle_that_is_torn_is_passed_over(tmp_path):
    path = tmp_path / "replies.log"
    body = b"%064x 1 2 0 0 0.5 {}"
    good = [b"%08x %b\n" % (zlib.crc32(body % n), body % n) for n in range(3)]
    for torn in (
        b"\n",
        b"zz\n",
        good[1][:-1] + b"x\n",
        b"00000000 x\n",
        b"\xff" * 20 + b"\n",
    ):
        path.write_bytes(good[0] + torn + good[2])
        journal = Journal(tmp_path)
        assert (len(journal), journal.torn) == (2, 1)
        assert journal.get(f"{2:064x}") == b"{}"
        journal.release()
        assert path.read_bytes() == good[0] + torn + good[2]


@given(
    st.floats(1, 6000),
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(0.1, 5)), min_size=1, max_size=30
    ),
)
def test_a_pace_never_lets_more_through_than_its_rate(a_minute, calls):
    pace = Pace(a_minute)
    now = 100.0
    let: list[tuple[float, float]] = []
    for gap, amount in calls:
        now = max(now + gap, now + pace.wait(now + gap) + gap)
        pace.take(now, amount)
        let.append((now, amount))
    for at, (begin, _) in enumerate(let):
        inside = [amount for _, amount in let[at:-1]]
        span = let[-1][0] - begin
        assert sum(inside) <= span * a_minute / 60 * MARGIN * (1 + 1e-6) + 1e-6


def test_what_a_pace_is_told():
    free = Pace(None)
    assert (free.rate, free.wait(5.0)) == (None, 0.0)
    free.take(5.0, 100)
    assert free.wait(5.0) == 0.0
    free.announce(600)
    assert free.rate == pytest.approx(10 * MARGIN)
    free.learn(3.0)
    assert (free.rate, free.learned) == (3.0, 3.0)
    free.grow(2.0)
    assert free.rate == 6.0
    free.grow(100.0)
    assert (free.rate, free.learned) == (pytest.approx(10 * MARGIN), None)
    free.learn(0.0)
    assert free.rate == FLOOR
    free.announce(60)
    assert free.rate == pytest.approx(MARGIN)
    own = Pace(60)
    own.announce(6000)
    assert own.rate == pytest.approx(MARGIN)


@given(st.floats(0.02, 2), st.floats(0.02, 2), st.integers(0, 300))
def test_the_rate_of_late_is_that_of_the_last_replies(before, gap, count):
    epoch = Epoch(0.0)
    assert epoch.rate(10.0) is None
    now = 0.0
    for number in range(count + 450):
        now += before if number < count else gap
        epoch.replied(now)
    assert epoch.rate(now) == pytest.approx(1 / gap, rel=0.02)


@pytest.mark.parametrize(
    ("tokens", "mean"),
    [
        *table(
            r"""
[] | None
None | None
'x' | None
[None, 5] | None
[{'logprob': None}] | None
[{'logprob': -1}, {'logprob': -2.5}] | -1.75
[{'logprob': '-1'}] | None
{'logprob': -1} | None
[{'logprob': -10000000.0}] | None
"""
        ),
        ([{"logprob": float("nan")}], None),
        ([{"logprob": float("-inf")}, {"logprob": -1}], -1.0),
    ],
)
def test_the_mean_of_log_probabilities(tokens, mean):
    assert mean_logprob(tokens) == mean


TEXTS = [
    "",
    "a",
    "Hello there, world!",
    "\u6625\u5929 \U0001f600",
    "<|endoftext|>",
    "x" * 500,
    "\ud800",
]


def test_tokens_are_counted_as_tiktoken_counts_them():
    tiktoken = pytest.importorskip("tiktoken")
    own = token_counter.counter("openai/gpt-4o")
    other = token_counter.counter("nobody/knows")
    assert token_counter.BY_BYTES.count("abcd\u00e9") == 1.5
    if own is token_counter.BY_BYTES:
        pytest.skip("no encoding lies on this machine")
    assert other.error > 0
    # It was loaded for the counter, from a file.
    encoding = tiktoken.get_encoding(own.name)
    for text in TEXTS:
        assert own.count(text) == len(
            encoding.encode(text, disallowed_special=())
        )
