from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import Unreadable, WrongUse
from synth.parsers.base import Reply
from synth.parsers.json_object import JsonObject


def test_the_last_object_with_the_keys_counts():
    parser = JsonObject(keys={"score": "number"})
    assert parser.parse(
        '{"score": 1} then ```json\n{"score": 4, "x": {}}\n``` and {"other": 2}',
        {},
    ) == {"score": 4}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "true"])
def test_numbers_are_finite(value):
    with pytest.raises(Unreadable, match="wrong_kind"):
        JsonObject(keys={"score": "number"}).parse('{"score": %s}' % value, {})  # noqa: UP031


@pytest.mark.parametrize(
    "bomb", ["[" * 100_000, "{" * 200_000, '{"a":' * 50_000, "9" * 100_000]
)
def test_bombs_are_unreadable_and_cheap(bomb):
    started = time.process_time()
    with pytest.raises(Unreadable):
        JsonObject(keys={"a": "any"}).parse("{" + bomb, {})
    assert time.process_time() - started < 5


def test_kinds_are_checked():
    with pytest.raises(WrongUse, match="kind 'float'"):
        registry.build(
            "synth.parsers", {"name": "json_object", "keys": {"a": "float"}}
        )


LATEX = [r"\frac{1}{2}", r"\boxed{3}", r"3 \times 10^8", r"\nu", r"\theta", r"\sqrt{2}", r"\beta", r"\(x\)", r"where \nu is the frequency", r"\text{cm}", r"\rightarrow", r"\neq 0", r"\underline{a}", r"50\%"]  # fmt: skip
TEXTS = st.text(alphabet="ab 'é,:{}[]#/\n", max_size=12).filter(
    lambda text: not text.endswith("'")
)
VALUES = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-9, 9),
    TEXTS,
    st.lists(st.integers(0, 9), max_size=3),
)


def read(text, whole=True, **kinds):
    reply = Reply(text, whole=whole)
    return JsonObject(keys=kinds or {"a": "any"}).parse_reply(
        reply, {}
    ), reply.mended


@pytest.mark.parametrize("said", LATEX)
@pytest.mark.parametrize(
    "around", ["{}", "```json\n{}\n```", "So \\(x\\): {}, as asked."]
)
def test_a_backslash_of_latex_stays_one(said, around):
    assert read(around.replace("{}", '{"a": "%s"}' % said)) == (  # noqa: UP031
        {"a": said},
        ["LaTeX's backslashes"],
    )
    assert read(around.replace("{}", json.dumps({"a": said}))) == (
        {"a": said},
        [],
    )


def test_escapes_that_json_means_stay():
    said = {"a": 'one\ntwo\tand "three" \u00e9 C:\\dir\nnu\nu otro\r\nend'}
    assert read(json.dumps(said)) == (said, [])


@pytest.mark.parametrize(
    ("text", "value", "mended"),
    [
        ("{'a': 'x'}", "x", "other quotation marks"), ("{'a': 'it's \"so\"'}", "it's \"so\"", "other quotation marks"), ('{"a": 1,}', 1, "a trailing comma"),
        ('{"a": [1, 2, ], }', [1, 2], "a trailing comma"), ('{"a": True}', True, "Python's words"), ('{"a": None}', None, "Python's words"), ('{"a": 1 // so\n}', 1, "comments"),
        ('{/* so */ "a": "b // c"}', "b // c", "comments"), ('{\n# so\n"a": "#1"}', "#1", "comments"), ('{a: "x"}', "x", "keys without quotation marks"),
        ('{"a": "one\ntwo"}', "one\ntwo", "line breaks in a text"), ("{\u201ca\u201d: \u201cx\u201d}", "x", "other quotation marks"), ('{"a": "it\\\'s"}', "it's", "other quotation marks"),
    ],
)  # fmt: skip
def test_what_is_mended_is_said(text, value, mended):
    for around in ("{}", "Here's it:\n```json\n{}\n```\nThat's all."):
        assert read(around.replace("{}", text)) == ({"a": value}, [mended])


@given(
    value=VALUES,
    wrong=st.sampled_from(
        ["python", "comma", "comment", "bare", "fence", "prose"]
    ),
)
def test_other_spellings_of_an_object_are_read_back(value, wrong):
    spelt = json.dumps({"a": value, "b": 1})
    text = {
        "python": repr({"a": value, "b": 1}), "comma": spelt[:-1] + ",}", "comment": "{ // a: 2\n" + spelt[1:], "bare": spelt.replace('"b": 1}', "b: 1}"), "fence": f"```json\n{spelt}\n```",
        "prose": f"It's {{so}}: {spelt} isn't it?",
    }[wrong]  # fmt: skip
    assert read(text)[0] == {"a": value}


@pytest.mark.parametrize(
    "text",
    [
        '{"b": {"a": 1}, "c": ',
        '{"a": "cut o',
        '{"a": [1, 2',
        "{'a': 'cut",
        '{"a": 1, "b": {"a": 2}',
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_nothing_is_closed_and_nothing_read_out_of_an_open_object(text, whole):
    with pytest.raises(Unreadable, match="open_object"):
        read(text, whole)
    with pytest.raises(Unreadable, match="open_object"):
        read('{"a": 0} no: ' + text, whole=False)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": }',
        '{"a" 1}',
        '{"a": 1 "b": 2}',
        '{"a": tru}',
        '{"b": {"a": 1}, oops}',
        '{"a": "say "hi" now"}',
    ],
)
def test_nothing_is_invented(text):
    with pytest.raises(Unreadable, match="no_object"):
        read(text)


def test_numbers_in_quotation_marks():
    assert read('```json\n{"score": "0.95"}\n```', score="number") == (
        {"score": 0.95},
        ["0.95 in quotation marks is a number"],
    )
    for said in ("4/5", "high", "1e999", "٣", "12 %"):
        with pytest.raises(Unreadable, match="wrong_kind"):
            read(json.dumps({"score": said}), score="number")


@pytest.mark.parametrize(
    "bomb",
    [
        '{"a":' * 40_000,
        "{'" * 100_000,
        "{a:" * 60_000,
        '{"a": 1, // ' * 20_000,
        "{'a': '" + "'x " * 80_000,
        '{"a": "' + "\\" * 200_000,
        "{ " * 100_000,
        '{"a", ' * 40_000 + "}",
    ],
)
def test_broken_objects_cost_little(bomb):
    started = time.process_time()
    with pytest.raises(Unreadable):
        read(bomb)
    assert time.process_time() - started < 5
