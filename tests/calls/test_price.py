"""Prices: from the table or from the user, never from a pack; cached, written and long input at its own."""

from __future__ import annotations

import json
import shutil

import pytest

import synth
from synth.calls.price import Price, most_tokens, price_of, unbounded
from synth.core.errors import WrongUse
from synth.core.records import Completion
from synth.packs.pack import Pack, built_in
from synth.pipeline.notes import notes_before
from synth.pipeline.prepare import RunConfig, prepare
from tests.conftest import chat, serving


def test_where_a_price_comes_from():
    assert price_of("openai/gpt-4o-mini").input == pytest.approx(0.15)
    assert price_of("openai/nobody-knows-this") is None
    assert price_of("openai/x", "1,2").output == 2
    assert price_of("simulated/slips").output == 0
    assert price_of("openai/x", "1,2,0.3,4") == Price(1, 2, 0.3, 4)
    for bad in ("cheap", "1", "1,2,3,4,5", "-1,2", "nan,1"):
        with pytest.raises(WrongUse, match="IN,OUT"):
            price_of("openai/x", bad)


def test_cached_tokens_are_part_of_the_input_and_reasoning_of_the_output():
    said = Completion(
        "x",
        prompt_tokens=1000,
        completion_tokens=500,
        cached_tokens=800,
        reasoning_tokens=400,
    )
    assert Price(10, 20, 1).cost(said) == pytest.approx(
        (200 * 10 + 800 * 1 + 500 * 20) / 1e6
    )
    assert Price(10, 20).cost(said) == pytest.approx(
        (1000 * 10 + 500 * 20) / 1e6
    )
    odd = Completion("x", prompt_tokens=10, cached_tokens=800)
    assert Price(10, 20, 1).cost(odd) == pytest.approx(10 / 1e6)


def test_a_batch_costs_what_the_table_says_or_half():
    full, half = (
        price_of("openai/gpt-4o-mini"),
        price_of("openai/gpt-4o-mini", batch=True),
    )
    assert (half.input, half.output) == pytest.approx(
        (full.input / 2, full.output / 2)
    )


def test_a_packs_prices_set_none_and_the_ledger_counts_cached_tokens(tmp_path):
    pack = shutil.copytree(built_in() / "cot", tmp_path / "pack")
    text = (pack / "pack.yaml").read_text()
    (pack / "pack.yaml").write_text(text + 'prices: {openai/mine: "0,0"}\n')
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 900},
    }
    rows, options = (
        [{"question": "a"}],
        {"teacher": "openai/mine", "output": tmp_path / "out", "budget": 1.0},
    )
    with serving(
        lambda body, count: chat("It is so.\n#### 4", usage=usage)
    ) as server:
        options["api_base"] = server.url
        with pytest.raises(
            WrongUse,
            match=r'no known price for openai/mine.*price=."teacher": IN,OUT..*The pack says 0,0: check it',
        ):
            synth.run(pack, rows, **options)
        assert not server.bodies
        done = synth.run(pack, rows, **options, price="10,20,1")
    cost = done.info["cost"]
    assert cost["cached_tokens"] == 900
    assert cost["usd"] == pytest.approx((100 * 10 + 900 * 1 + 50 * 20) / 1e6)
    assert (
        json.loads((tmp_path / "out" / "run.json").read_text())["cost"] == cost
    )
    prepared = prepare(
        pack,
        rows,
        tmp_path / "new",
        RunConfig(teachers={"teacher": "openai/mine"}),
    )
    assert [
        note
        for note in notes_before(prepared)
        if "0,0" in note and "not counted" in note
    ]
    (pack / "pack.yaml").write_text(text + "prices: {openai/mine: cheap}\n")
    with pytest.raises(WrongUse, match=r"pack\.yaml:"):
        Pack.load(pack)


def test_tokens_written_to_a_cache_reasoning_and_long_prompts_have_their_own_price():
    said = Completion(
        "x",
        prompt_tokens=1000,
        completion_tokens=500,
        cached_tokens=100,
        cache_write_tokens=300,
        reasoning_tokens=200,
    )
    price = Price(10, 20, cached=1, written=20, reasoning=50)
    assert price.cost(said) == pytest.approx(
        (600 * 10 + 100 * 1 + 300 * 20 + 300 * 20 + 200 * 50) / 1e6
    )
    long = Price(10, 20, beyond=900, long=Price(100, 200))
    assert long.cost(said) == pytest.approx((1000 * 100 + 500 * 200) / 1e6)
    assert long.cost(Completion("x", prompt_tokens=900)) == pytest.approx(
        900 * 10 / 1e6
    )


def test_the_table_knows_the_dearest_cache_write_and_the_price_of_long_prompts():
    claude = price_of("anthropic/claude-sonnet-4-5")
    assert (claude.input, claude.cached, claude.written) == pytest.approx(
        (3, 0.3, 6)
    )  # one hour's, not five minutes'
    long = [
        price
        for name in ("gemini/gemini-2.5-pro", "gemini/gemini-1.5-pro")
        if (price := price_of(name)) and price.long
    ]
    assert long
    assert all(
        price.beyond >= 100_000 and price.long.input > price.input
        for price in long
    )


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_tokens": 5}, 5), ({"max_completion_tokens": 7}, 7), ({"max_tokens": 5, "max_completion_tokens": 70}, 70),
        ({"max_tokens": 5, "n": 3}, 15), ({"max_tokens": 5, "n": 2, "best_of": 4}, 20), ({"max_tokens": 5, "min_tokens": 50}, 50),
        ({"max_tokens": 5, "thinking": {"type": "enabled", "budget_tokens": 100}}, 105), ({"max_tokens": 5, "reasoning": {"max_tokens": 9}}, 14),
        ({"max_tokens": 5, "enable_thinking": True, "thinking_budget": 30}, 35),
    ],
)  # fmt: skip
def test_what_bounds_a_reply(fields, most):
    assert most_tokens(fields) == most
    assert unbounded(fields) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"max_tokens": None}, {"max_tokens": "100"}, {"max_tokens": True}, {"max_tokens": 5, "max_completion_tokens": -1},
        {"max_tokens": 5, "n": "2"}, {"max_tokens": 5, "n": 1e3}, {"max_tokens": 5, "web_search_options": {}},
        {"max_tokens": 5, "service_tier": "priority"}, {"max_tokens": 5, "modalities": ["text", "audio"]},
        {"max_tokens": 5, "enable_thinking": True}, {"max_tokens": 5, "tools": [{"type": "web_search"}]}, {"max_tokens": 5, "tools": ["x"]}, {"max_tokens": 10**30},
    ],
)  # fmt: skip
def test_what_nobody_can_bound(fields):
    assert unbounded(fields)
