"""Keys, ids and the records that carry them."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from synth.core.records import Request, Sampling, canonical_json, seed_id

BASE = Request(model="m", messages=({"role": "user", "content": "hi"},))
OTHER = {
    "model": "n", "messages": ({"role": "user", "content": "ho"},), "family": "litellm", "sampling": Sampling(temperature=0.5),
    "tools": ({"type": "function"},), "response_format": {"type": "json_object"}, "draw": 1, "seed_id": "s", "step": "t", "inputs": {"a": 1},
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
        "logprobs": True, "top_logprobs": 3, "reasoning_effort": "low", "extra": {"top_k": 5},
    }  # fmt: skip
    assert set(values) == {f.name for f in fields(Sampling)}
    keys = {
        replace(BASE, sampling=Sampling(**{name: value})).key()
        for name, value in values.items()
    }
    assert len(keys) == len(values)
    assert BASE.key() not in keys


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
