"""Keys, ids and the records that carry them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.paths import heads, values_at
from synth.core.records import (
    Request,
    Sampling,
    canonical_json,
    ordered_json,
    seed_id,
)
from synth.core.rows import row_digest
from tests.tables import table

BASE = Request(model="m", messages=({"role": "user", "content": "hi"},))
OTHER = {
    "model": "n", "messages": ({"role": "user", "content": "ho"},), "family": "litellm", "sampling": Sampling(temperature=0.5),
    "tools": ({"type": "function"},), "response_format": {"type": "json_object"}, "draw": 1, "seed_id": "s", "step": "t", "inputs": {"a": 1}, "checked": True, "images": {"sha256:0": "data:"},
}  # fmt: skip


def test_every_field_of_a_request_is_classified_and_counts_as_it_says():
    names = {f.name for f in fields(Request)}
    assert names == {*Request.KEYED, *Request.UNKEYED}
    assert set(OTHER) == names
    for name in names:
        changed = replace(BASE, **{name: OTHER[name]})
        assert (changed.key() != BASE.key()) == (name in Request.KEYED), name


def test_every_sampling_field_is_in_the_key():
    values = {
        "temperature": 0.1, "top_p": 0.5, "max_tokens": 9, "stop": ("x",), "seed": 4, "presence_penalty": 0.1, "frequency_penalty": 0.2,
        "logprobs": True, "top_logprobs": 3, "reasoning_effort": "low", "thinking_tokens": 900, "extra": {"top_k": 5},
    }  # fmt: skip
    assert set(values) == {f.name for f in fields(Sampling)}
    keys = {
        replace(BASE, sampling=Sampling(**{name: value})).key()
        for name, value in values.items()
    }
    assert len(keys) == len(values)
    assert BASE.key() not in keys


def form(*properties):
    """A response format whose schema has these properties."""
    schema = {"type": "object", "properties": {key: {} for key in properties}}
    return {"type": "json_schema", "json_schema": {"schema": schema}}


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": form("reason", "answer")},
        {"sampling": Sampling(extra={"json_schema": form("reason", "answer")})},
        {"tools": ({"type": "function", "function": form("to", "amount")},)},
    ],
)
def test_a_question_keeps_the_order_of_schemas_and_tools(fields):
    """Of two orders, a model writes its reason before its answer in one alone."""
    request = replace(BASE, **fields)
    sent = json.loads(request.text)
    # Text, since dicts of other orders are equal.
    assert json.dumps(sent, sort_keys=False) != json.dumps(sent, sort_keys=True)
    for name in set(sent) - {"model", "messages"}:
        assert json.dumps(sent[name]) == json.dumps(request.body()[name])
    assert list(sent) == sorted(sent)


def test_two_orders_of_a_schema_are_two_questions():
    keys = {
        replace(BASE, response_format=form(*names)).key()
        for names in (("reason", "answer"), ("answer", "reason"))
    }
    assert len(keys) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values))
def test_ids_depend_on_content_not_on_order(row):
    turned = dict(reversed(list(row.items())))
    assert seed_id(row) == seed_id(turned)
    assert canonical_json(row) == canonical_json(turned)
    assert len(seed_id(row)) == 16


def test_lone_surrogates_have_keys_too():
    assert (
        len(
            replace(
                BASE, messages=({"role": "user", "content": "\ud800"},)
            ).key()
        )
        == 64
    )


SAFE = st.text(st.characters(codec="utf-8"))
ROWS = st.dictionaries(
    SAFE,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | SAFE,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(SAFE, inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@given(ROWS)
def test_the_ordered_text_is_pythons_with_keys_as_they_stand(row):
    wanted = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
    assert ordered_json(row) == wanted.encode()
    strange = {"\ud800": row}
    spelled = json.dumps(strange, separators=(",", ":"))
    assert ordered_json(strange) == spelled.encode()


@given(ROWS)
def test_the_canonical_text_is_pythons_with_sorted_keys(row):
    wanted = json.dumps(
        row, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert canonical_json(row) == wanted.encode()
    assert seed_id(row) == hashlib.sha256(wanted.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *table(
            r"""
{'a': '\ud800'} | b'{"a":"\\ud800"}'
{1: 'a', 'b': 2} | b'{"1":"a","b":2}'
0.1 | b'0.1'
1.0 | b'1.0'
-0.0 | b'-0.0'
{'a': (1, 2)} | b'{"a":[1,2]}'
{'a': {3}} | b'{"a":"{3}"}'
[] | b'[]'
"""
        ),
        ({"a": 2**70}, b'{"a":1180591620717411303424}'),
        (float("nan"), b"null"),
        ("\u2028", '"\u2028"'.encode()),
    ],
)
def test_values_beyond_plain_json_have_one_text_too(value, text):
    assert canonical_json(value) == text


@given(ROWS, ROWS)
def test_two_rows_share_an_id_only_where_they_are_the_same(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (seed_id(one) == seed_id(other)) is same


def test_the_body_holds_what_was_set_and_extras_go_last():
    sampling = Sampling(
        temperature=0.0, stop=("a", "b"), extra={"top_k": 5, "temperature": 2}
    )
    body = replace(BASE, sampling=sampling).body()
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 2,
        "stop": ["a", "b"],
        "top_k": 5,
    }
    assert "tools" not in BASE.body()
    asked = replace(BASE, tools=({"type": "function"},), response_format={})
    assert asked.body()["tools"] == [{"type": "function"}]
    assert asked.body()["response_format"] == {}
    assert json.loads(asked.text) == asked.body()


@pytest.mark.parametrize(
    ("row", "path", "values"),
    table(
        r"""
{'a': 1} | 'a' | [1]
{'a': [1, [2]]} | 'a' | [1, 2]
{'a': None} | 'a' | []
{} | 'a' | []
{'a': {'b': 1}} | 'a.b' | [1]
{'a': [{'b': 1}, {'b': [2, 3]}]} | 'a.b' | [1, 2, 3]
{'a': [{'c': 1}]} | 'a.b' | []
{'a': [5, {'b': 6}]} | 'a.b' | [5, 6]
{'a': 0} | 'a' | [0]
{'a': ''} | 'a' | ['']
{'a': [None, False]} | 'a' | [False]
{'a': ({'b': 1},)} | 'a.b' | [1]
{'a.b': 1} | 'a.b' | []
"""
    ),
)
def test_values_at_a_path(row, path, values):
    assert list(values_at(row, path)) == values
    assert heads((path, "x.y.z")) == ("a", "x")


@given(ROWS, ROWS)
def test_the_digest_of_a_row_leaves_its_marks_out(row, marks):
    plain = {**row}
    plain.pop("marks", None)
    assert row_digest({**plain, "marks": marks}) == row_digest(plain)
    assert row_digest({**plain, "other": marks}) != row_digest(plain)
    assert len(row_digest(row)) == 32
