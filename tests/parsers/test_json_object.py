from __future__ import annotations

import time

import pytest

from synth import registry
from synth.errors import Unreadable, WrongUse
from synth.parsers.json_object import JsonObject


def test_the_last_object_with_the_keys_counts():
    parser = JsonObject(keys={"score": "number"})
    assert parser.parse('{"score": 1} then ```json\n{"score": 4, "x": {}}\n``` and {"other": 2}', {}) == {"score": 4}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "true"])
def test_numbers_are_finite(value):
    with pytest.raises(Unreadable, match="wrong_kind"):
        JsonObject(keys={"score": "number"}).parse('{"score": %s}' % value, {})  # noqa: UP031


@pytest.mark.parametrize("bomb", ["[" * 100_000, "{" * 200_000, '{"a":' * 50_000, "9" * 100_000])
def test_bombs_are_unreadable_and_cheap(bomb):
    started = time.process_time()
    with pytest.raises(Unreadable):
        JsonObject(keys={"a": "any"}).parse("{" + bomb, {})
    assert time.process_time() - started < 5


def test_kinds_are_checked():
    with pytest.raises(WrongUse, match="kind 'float'"):
        registry.build("synth.parsers", {"name": "json_object", "keys": {"a": "float"}})
