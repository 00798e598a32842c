"""Parsers on replies of real models, and laws that hold for every parser whatever is written."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.answers import equal
from synth.core.errors import Unreadable
from synth.parsers.base import Reply, cut_invented, misfit
from synth.parsers.final_number import FinalNumber, leading_expression
from synth.parsers.json_object import JsonObject
from synth.parsers.option import Option
from synth.parsers.outline import Outline
from synth.parsers.permutation import Permutation
from synth.parsers.whole import Whole
from tests.conftest import SHARED
from tests.parsers.test_laws import CASES, ROW, build
from tests.tables import table

REAL = pytest.mark.skipif(not SHARED.is_dir(), reason="real data is elsewhere")


def rows(name: str, most: int) -> list[dict]:
    with (SHARED / name).open() as file:
        return [json.loads(line) for line in islice(file, most)]


def read(parser, text: str, row: dict) -> dict | str:
    """The fields of a reply, or why it has none."""
    try:
        return parser.parse(text, row)
    except Unreadable as error:
        return error.reason


@REAL
def test_the_last_hash_marker_of_human_solutions_is_read():
    for row in rows("gsm8k/train.jsonl", 1500):
        fields = FinalNumber().parse(
            f"{row['rationale']}\n#### {row['answer']}", {}
        )
        assert fields["answer"] == row["answer"], row["id"]
        assert fields["rationale"] == row["rationale"].strip(), row["id"]


@REAL
def test_answers_of_real_few_shot_replies_are_those_of_a_plain_pattern():
    plain = re.compile(r"The answer is ([\d +*/().-]+)\.(?=\n|$)")
    compared = 0
    for row in rows("palm_cot/svamp_train.jsonl", 800):
        first = re.split(r"\n\s*Q:", row["completion"])[0]
        wanted = plain.findall(first)
        found = read(FinalNumber(), row["completion"], {})
        if len(wanted) != 1 or wanted[0].count("(") != wanted[0].count(")"):
            continue
        exact = eval(made(wanted[0]), {"Fraction": Fraction})  # noqa: S307
        assert equal.number(found["answer"]) == exact, row["id"]
        assert "Q:" not in found["rationale"]
        compared += 1
    assert compared > 500


def made(formula: str) -> str:
    """A formula whose numbers are fractions to Python."""
    return re.sub(r"(\d+\.?\d*)", r"Fraction('\1')", formula)


@REAL
def test_options_of_real_replies_are_those_of_a_plain_pattern():
    plain = re.compile(r"[Ss]o the answer is \(([a-e])\) ([^.\n]*)\.")
    compared = 0
    for row in rows("palm_cot/commonsense_qa_train.jsonl", 1500):
        first = re.split(r"\n\s*Q:", row["completion"])[0]
        wanted = plain.findall(first)
        if len(wanted) != 1 or len(set(row["choices"])) < 5:
            continue
        letter, text = wanted[0]
        found = read(Option(), row["completion"], row)
        named = row["choices"]["abcde".index(letter)]
        if named.casefold() == text.strip().casefold():
            assert (found["answer"], found["letter"]) == (named, letter)
            compared += 1
    assert compared > 500


@REAL
def test_replies_of_real_models_are_read_the_same_with_any_line_ends():
    for row in rows("gsm8k/solutions_dev.jsonl", 300):
        text = f"{row['completion']}\n#### {row['answer']}"
        plain = FinalNumber().parse(text, {})
        windows = FinalNumber().parse(text.replace("\n", "\r\n"), {})
        assert unix(windows) == unix(plain)


def unix(value: object) -> object:
    """A value with one kind of line end."""
    text = json.dumps(value).replace("\\r\\n", "\\n")
    return json.loads(text)


LINES = [text for cases in CASES.values() for text in cases if "\n" in text]
LINES += [
    "scope: a ship\n- past: 1\n- now: 2\n",
    "1\n- a\n2\n- b",
    "**1**\n- a\n**2.**\n- b\n",
    "Critique: fine\nVerdict: yes",
    "A\nx y\nB\nz",
    "**Answer**\nA",
    "a: yes\nb: fine",
    "1. one\n\n2. two\n",
    "[1]\n[2]\n[3]",
    "It is ice.\n\nAnswer: (b)\n",
    "x = 1\ny = 2\nans = x + y\n",
    "<a>yes\n</a>\n<b>x\ny</b>",
]


@pytest.mark.parametrize("name", CASES)
def test_line_ends_of_windows_change_no_reading(name):
    for text in LINES:
        plain = read(build(name), text, ROW)
        windows = read(build(name), text.replace("\n", "\r\n"), ROW)
        assert unix(windows) == unix(plain), text


@given(
    st.permutations(list(range(1, 8))),
    st.integers(0, 2),
    st.sampled_from([" > ", ">", " >= ", ", ", "\n"]),
)
def test_ranks_turn_an_order_around(order, missing, between_links):
    kept = order[: 7 - missing]
    text = between_links.join(f"[{number}]" for number in kept)
    fields = Permutation(of="t").parse(text, {"t": list("abcdefg")})
    by_rank = sorted(range(1, 8), key=lambda n: fields["ranks"][n - 1])
    assert by_rank == [*kept, *sorted(set(order) - set(kept))]
    assert sorted(fields["ranks"]) == [1, 2, 3, 4, 5, 6, 7]
    assert fields["repaired"] == missing


@st.composite
def outlines(draw: st.DrawFn) -> tuple[str, list[dict], int]:
    """An outline as text, its aspects, and its number of sentences."""
    lines = ["scope: the whole"]
    aspects = []
    at = 1
    for number in range(draw(st.integers(1, 4))):
        sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
        last = at + sum(sizes) - 1
        deep = len(sizes) > 1
        aspects.append(
            {
                "level": 0.0,
                "name": f"part {number}",
                "first": float(at),
                "last": float(last),
            }
        )
        lines.append(f"- part {number}: {spelt(at, last)}")
        for inner, size in enumerate(sizes if deep else []):
            end = at + size - 1
            aspects.append(
                {
                    "level": 1.0,
                    "name": f"sub {inner}",
                    "first": float(at),
                    "last": float(end),
                }
            )
            lines.append(f"  - sub {inner}: {spelt(at, end)}")
            at = end + 1
        at = last + 1
    return "\n".join(lines), aspects, at - 1


def spelt(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


@given(outlines())
def test_any_outline_is_read_back_and_one_sentence_more_is_not_covered(outline):
    text, aspects, count = outline
    row = {"sentences": ["x"] * count}
    fields = Outline().parse(text, row)
    assert fields == {"scope": "the whole", "aspects": aspects}
    more = {"sentences": ["x"] * (count + 1)}
    assert read(Outline(), text, more) == "not_covered"
    fewer = {"sentences": ["x"] * (count - 1)}
    assert read(Outline(), text, fewer) == "out_of_range"


KINDS = {
    "text": st.text(max_size=4),
    "number": st.integers(-9, 9),
    "bool": st.booleans(),
    "list": st.lists(st.text(max_size=3), max_size=2),
    "numbers": st.lists(st.integers(-9, 9), max_size=2),
    "any": st.none() | st.text(max_size=3),
}
ANY = st.one_of(*KINDS.values())


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from("abc"), st.sampled_from(sorted(KINDS)), min_size=1
    ),
    st.data(),
)
def test_an_object_is_read_where_its_own_schema_allows_it(kinds, data):
    jsonschema = pytest.importorskip("jsonschema")
    keys = [*kinds, *data.draw(st.lists(st.just("z"), max_size=1))]
    value = {
        key: data.draw(st.one_of(KINDS[kinds.get(key, "any")], ANY))
        for key in keys
    }
    parser = JsonObject(keys=kinds)
    schema = {**parser.schema(), "additionalProperties": True}
    fits = jsonschema.Draft202012Validator(schema).is_valid(value)
    found = read(parser, json.dumps(value), {})
    wanted = {key: value[key] for key in kinds}
    mends = any(kind == "number" for kind in kinds.values())
    if fits:
        assert found == wanted
    elif not mends:
        assert found == "wrong_kind"


def test_objects_in_lists_have_their_own_kinds():
    jsonschema = pytest.importorskip("jsonschema")
    parser = JsonObject(keys={"names": {"name": "text", "age": "number"}})
    schema = parser.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    one = {"name": "Ann", "age": 9}
    assert jsonschema.Draft202012Validator(schema).is_valid({"names": [one]})
    more = json.dumps({"names": [{**one, "x": 1}]})
    assert parser.parse(more, {}) == {"names": [one]}
    for wrong in ({"name": "Ann"}, {"name": 1, "age": 9}, "Ann"):
        assert (
            read(parser, json.dumps({"names": [one, wrong]}), {})
            == "wrong_kind"
        )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        *table(
            r"""
' 5.' | '5'
'$5.50 each' | '$5.50'
'-3' | '-3'
'5 km.' | '5 km'
'about 5' | '5'
'5%' | '5%'
'5 apples and so' | '5'
'5, 6 and 7' | ''
'1/2 of it' | '1/2'
'5-6' | ''
'twenty-three' | 'twenty-three'
'half a dozen' | 'half a dozen'
'x = 5' | '5'
'**5**' | '5'
'5 * 6 = 30' | '5 * 6'
'' | ''
'\n\n5' | '5'
'not known. 5' | ''
'(3 + 4) * 2' | '(3 + 4) * 2'
'10:30' | ''
'5x' | ''
'\u20ac5' | '\u20ac5'
'1,200 dollars' | '1,200 dollars'
'2\xbd' | '2\xbd'
'\\frac{1}{2}' | '\\frac{1}{2}'
'5 (five)' | '5'
'3 hours 20 minutes' | '3 hours 20 minutes'
'-2^2' | '-2^2'
"""
        ),
        ("a" * 40 + " 5", ""),
    ],
)
def test_the_expression_at_the_start(text, answer):
    assert leading_expression(text) == answer


@given(
    st.text("ab \nQ:.1", max_size=30),
    st.sampled_from(["Q:", "Question :", "### Problem:", "premise:"]),
)
def test_an_invented_question_is_cut_and_the_rest_stays(text, mark):
    kept = cut_invented(text)
    assert text.rstrip().startswith(kept)
    assert cut_invented(kept) == kept
    if text.strip():
        assert cut_invented(f"{text}\n {mark} next?") == cut_invented(text)


@pytest.mark.parametrize(
    ("kind", "value", "where"),
    [
        *table(
            r"""
'text' | 'a' | ''
'text' | 1 | 'f = 1'
'text' | '\ud800' | "f = '\\ud800'"
'number' | True | 'f = True'
'bool' | 1 | 'f = 1'
'list' | ['a', None] | 'f[1] = None'
'list' | 'a' | "f = 'a'"
'numbers' | [1, '2'] | "f[1] = '2'"
'numbers' | {} | 'f = a dict of 0'
'any' | {'a': [1]} | ''
{'a': 'text'} | [{'a': 1}] | 'f[0].a = 1'
{'a': 'text'} | [{}] | 'no f[0].a'
{'a': 'text'} | ['x'] | "f[0] = 'x'"
{'a': 'text'} | [] | ''
{'a': 'list'} | [{'a': ['x', 2]}] | 'f[0].a[1] = 2'
"""
        ),
        ("number", float("nan"), "f = nan"),
        ("number", 2**53, ""),
        ("number", 2**53 + 1, "f = 9007199254740993"),
        ("any", [float("inf")], "f = a list of 1"),
    ],
)
def test_a_misfit_is_named_by_its_place(kind, value, where):
    assert misfit(kind, value, "f") == where


def test_values_nested_beyond_the_depth_do_not_fit():
    assert misfit("number", 10**5000, "f") == "f = int beyond all columns"
    deep: object = []
    for _ in range(63):
        deep = [deep]
    assert misfit("any", deep, "f") == ""
    assert misfit("any", [deep], "f") == "f = a list of 1"


@pytest.mark.parametrize(
    ("reply", "row", "text", "mended"),
    table(
        r"""
'The sea is blue.' | {'line': 'The sea is'} | 'blue.' | 1
'the SEA is... blue' | {'line': 'The sea is'} | 'blue' | 1
'It is blue.' | {'line': 'The sea is'} | 'It is blue.' | 0
'The sea is' | {'line': 'The sea is'} | 'The sea is' | 0
'blue' | {} | 'blue' | 0
'blue' | {'line': ''} | 'blue' | 0
'The sea is\u2026 __ blue' | {'line': 'The sea is'} | 'blue' | 1
"""
    ),
)
def test_an_opening_that_is_repeated(reply, row, text, mended):
    said = Reply(reply)
    assert Whole(opening="line").parse_reply(said, row) == {"text": text}
    assert len(said.mended) == mended
