"""Prices: from the table, from the user, from a pack; cached input at its own."""

from __future__ import annotations

import json
import shutil

import pytest

import synth
from synth.calls.price import Price, price_of
from synth.errors import WrongUse
from synth.packs import Pack, built_in
from synth.prepare import RunConfig, prepare, price_notes
from synth.records import Completion
from tests.conftest import chat, serving


def test_where_a_price_comes_from():
    assert price_of("openai/gpt-4o-mini").input == pytest.approx(0.15)
    assert price_of("openai/nobody-knows-this") is None
    assert price_of("openai/x", "1,2").output == 2
    assert price_of("simulated/slips").output == 0
    assert price_of("openai/x", own={"openai/x": "3,4,0.3"}) == Price(3, 4, 0.3)
    assert price_of("openai/x", "1,2", own={"openai/x": "3,4"}) == Price(1, 2)
    for bad in ("cheap", "1", "1,2,3,4", "-1,2", "nan,1"):
        with pytest.raises(WrongUse, match="IN,OUT"):
            price_of("openai/x", bad)


def test_cached_tokens_are_part_of_the_input_and_reasoning_of_the_output():
    said = Completion("x", prompt_tokens=1000, completion_tokens=500, cached_tokens=800, reasoning_tokens=400)
    assert Price(10, 20, 1).cost(said) == pytest.approx((200 * 10 + 800 * 1 + 500 * 20) / 1e6)
    assert Price(10, 20).cost(said) == pytest.approx((1000 * 10 + 500 * 20) / 1e6)
    odd = Completion("x", prompt_tokens=10, cached_tokens=800)
    assert Price(10, 20, 1).cost(odd) == pytest.approx(10 / 1e6)


def test_a_batch_costs_what_the_table_says_or_half():
    full, half = price_of("openai/gpt-4o-mini"), price_of("openai/gpt-4o-mini", batch=True)
    assert (half.input, half.output) == pytest.approx((full.input / 2, full.output / 2))


def test_a_packs_price_is_a_word_and_the_ledger_counts_cached_tokens(tmp_path):
    pack = shutil.copytree(built_in() / "cot", tmp_path / "pack")
    text = (pack / "pack.yaml").read_text()
    (pack / "pack.yaml").write_text(text + 'prices: {openai/mine: "0,0"}\n')
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 900}}
    rows, options = [{"question": "a"}], {"teacher": "openai/mine", "output": tmp_path / "out", "budget": 1.0}
    with serving(lambda body, count: chat("so\n#### 4", usage=usage)) as server:
        with pytest.raises(WrongUse, match="no known price for openai/mine"):
            synth.run(pack, rows, api_base=server.url, **options)
        assert not server.bodies
        done = synth.run(pack, rows, api_base=server.url, price="10,20,1", **options)
    cost = done.info["cost"]
    assert cost["cached_tokens"] == 900
    assert cost["usd"] == pytest.approx((100 * 10 + 900 * 1 + 50 * 20) / 1e6)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["cost"] == cost
    prepared = prepare(pack, rows, tmp_path / "new", RunConfig(teachers={"teacher": "openai/mine"}))
    assert ["0,0" in note and "not counted" in note for note in price_notes(prepared)] == [True]
    (pack / "pack.yaml").write_text(text + "prices: {openai/mine: cheap}\n")
    with pytest.raises(WrongUse, match=r"pack\.yaml:"):
        Pack.load(pack)
