"""Names, parameters and types of parts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.registry import (
    parameters,
    parse_spec,
    part_name,
    scalar,
)
from tests.tables import table


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("answer_macth", "Did you mean answer_match"),
        ("length:leest=3", "Did you mean least"),
        ("length:least=many", "wanted int"),
        ("length:least=9,most=3", "nothing would be kept"),
        ("length:least", "key=value"),
        ("length:least=1,least=2", "'least' for the second time"),
        ("length:name=language", "'name' for the second time"),
        ("self_consistency:min_share=1.5", "share from 0 to 1"),
        ("answer_match:unknown=perhaps", "'keep', 'drop'"),
        ({"name": "length", "most": True}, "wanted int"),
    ],
)
def test_wrong_specs_say_what_to_do(spec, message):
    with pytest.raises(WrongUse, match=message):
        registry.build("synth.filters", spec)


def test_values_are_cast_to_the_annotation():
    assert (
        registry.build(
            "synth.filters", "self_consistency:min_share=1"
        ).min_share
        == 1.0
    )
    assert registry.build(
        "synth.filters", {"name": "finish_reason", "allowed": ["stop"]}
    ).allowed == ("stop",)
    assert registry.build("synth.parsers", 'tagged:tags=["a","b"]').tags == (
        "a",
        "b",
    )
    assert registry.build("synth.filters", "length:most=null").most is None


ROOMS = [
    "synth.filters",
    "synth.parsers",
    "synth.exports",
    "synth.verifiers",
    "finetune.losses",
]
NAMES = st.from_regex(
    r"[a-z][a-z0-9]{0,6}(_[a-z][a-z0-9]{0,4}){0,2}", fullmatch=True
)
PLAIN = st.from_regex(r"[a-z][a-z ]{0,6}[a-z]", fullmatch=True).filter(
    lambda text: text not in ("true", "false", "null")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    NAMES,
    st.dictionaries(
        NAMES.filter(lambda name: name != "name"),
        PLAIN
        | st.integers()
        | st.booleans()
        | st.lists(PLAIN, min_size=1, max_size=3),
    ),
)
def test_a_spec_on_one_line_says_what_its_mapping_says(name, given_values):
    line = name + ":" * bool(given_values)
    line += ",".join(
        f"{key}={spelt(value)}" for key, value in given_values.items()
    )
    assert parse_spec(line) == {"name": name, **given_values}


def spelt(value: object) -> str:
    """A value as people write it on a command line."""
    if isinstance(value, list):
        return "[" + ", ".join(value) + "]"
    return value if isinstance(value, str) else json.dumps(value)


@given(JSON)
def test_a_scalar_that_is_json_is_its_value(value):
    assert scalar(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    table(
        r"""
'a' | 'a'
'' | ''
'[a, b]' | ['a', 'b']
'[a, [b, c]]' | ['a', ['b', 'c']]
'[]' | []
'[a' | '[a'
'[a, 1, true]' | ['a', 1, True]
'["a,b", c]' | ['a,b', 'c']
'[{a}]' | ['{a}']
'01' | '01'
'1e3' | 1000.0
'None' | 'None'
'-5' | -5
"""
    ),
)
def test_scalars_of_the_command_line(text, value):
    assert scalar(text) == value


@pytest.mark.parametrize(
    ("text", "spec"),
    table(
        r"""
'length' | {'name': 'length'}
' length : least = 3 ' | {'name': 'length', 'least': 3}
'a:x={"b": [1, 2]},y=2' | {'name': 'a', 'x': {'b': [1, 2]}, 'y': 2}
'a:x=[1,2],y=z' | {'name': 'a', 'x': [1, 2], 'y': 'z'}
'm.n:C' | {'name': 'm.n:C'}
'm:C:a=1' | {'name': 'm:C', 'a': 1}
'a:' | {'name': 'a'}
'a:x="p,q"' | {'name': 'a', 'x': 'p,q'}
'a:x=b=c' | {'name': 'a', 'x': 'b=c'}
'a:,x=1,' | {'name': 'a', 'x': 1}
"""
    ),
)
def test_specs_on_one_line(text, spec):
    assert parse_spec(text) == spec


def test_a_spec_may_lie_in_a_file(tmp_path):
    file = tmp_path / "critic.json"
    file.write_text('{"name": "length", "least": 2}')
    assert parse_spec(str(file)) == {"name": "length", "least": 2}
    assert registry.build("synth.filters", str(file)).least == 2
    for broken, found in (
        ("[1]", "no `name`"),
        ("{}", "no `name`"),
        ("{", "critic.json: "),
    ):
        file.write_text(broken)
        with pytest.raises(WrongUse, match=found):
            parse_spec(str(file), "--filter")
    file.unlink()
    with pytest.raises(WrongUse, match=r"--filter.*Check the path"):
        parse_spec(str(file), "--filter")


@pytest.mark.parametrize("room", ROOMS)
def test_a_part_that_is_not_there_is_named_with_the_nearest(room):
    name = registry.built_in(room)[0]
    with pytest.raises(WrongUse, match=f"Did you mean {name}") as error:
        registry.find(room, name + "x", "pack.yaml:3")
    message = str(error.value)
    assert message.startswith("pack.yaml:3: found ")
    assert f"wanted a{'n' * (room == 'synth.exports')} " in message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        *table(
            r"""
{'name': 'tagged', 'tags': [True]} | 'wanted a list of str'
{'name': 'tagged', 'tags': [['a']]} | 'wanted a list of str'
{'name': 'tagged', 'tags': 5} | 'wanted a list of str'
{'name': 'tagged', 'tags': {'a': 1}} | 'wanted a list of str'
{'name': 'tagged', 'tags': [None]} | 'wanted a list of str'
{'name': 'tagged', 'tags': ['a'], 'allow': {'b': ['x']}} | "allow names 'b'"
{'name': 'tagged', 'tags': ['a'], 'allow': {'a': [True, False]}} | 'in quotes'
{'name': 'tagged', 'allow': [1]} | 'wanted Mapping or None'
{'name': 'whole', 'least': 1.0} | 'wanted int'
{'name': 'whole', 'least': '1'} | 'wanted int'
{'name': 'final_number', 'fallback': 'last'} | "'none', 'last_number'"
{'name': 'whole', 'rationale': 'said'} | 'reads none'
{'name': 'json_object', 'keys': {'a': 'date'}} | "kind 'date' of a"
{'name': 'json_object'} | 'keys'
{'least': 1} | 'with its `name`'
{'name': 'whole', 'leest': 1} | 'Did you mean least'
{'name': 'whole:least=2'} | 'Write \\{name: whole, least: 2\\}'
{'name': 'a.B'} | 'write a:B'
{'name': 'permutation', 'most_repaired': True} | 'wanted float'
"""
        ),
        ({"name": "permutation", "most_repaired": 10**400}, "wanted float"),
    ],
)
def test_parsers_that_cannot_be_built_say_why(spec, message):
    with pytest.raises(WrongUse, match=message):
        registry.build("synth.parsers", spec, "pack.yaml:7")


def test_elements_of_a_list_are_cast_too():
    tagged = registry.build(
        "synth.parsers", {"name": "tagged", "tags": [1, "b"]}
    )
    assert tagged.tags == ("1", "b")
    assert tagged.parse("<1>x</1><b>y</b>", {}) == {"1": "x", "b": "y"}
    triples = {"name": "triples", "held_out": [0, 0.5]}
    assert registry.build("synth.exports", triples).held_out == (0.0, 0.5)
    with pytest.raises(WrongUse, match="wanted a list of 2 float"):
        registry.build("synth.exports", {"name": "triples", "held_out": [0.1]})


def test_what_is_built_already_and_what_is_no_part():
    with pytest.raises(WrongUse, match="which is not there"):
        registry.build("synth.filters", "nowhere_at_all:Mine")
    with pytest.raises(WrongUse, match="allow it: --plugin json"):
        registry.build("synth.filters", {"name": "json:JSONDecoder"}, "", ())
    with pytest.raises(WrongUse, match="a class that extends"):
        registry.build("synth.filters", {"name": "json:JSONDecoder"})
    with pytest.raises(WrongUse, match="has no Missing"):
        registry.build("synth.filters", "json:Missing")
    assert part_name(type("XMLReader", (), {"__module__": "m"})) == "xmlreader"
    assert parameters(int) == ()
