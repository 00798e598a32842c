"""Values of rows: keys once however they are spaced, JSON's kinds for a program's own, lines that are read back."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import uuid
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.inputs.seeds import json_line, read_rows, write_jsonl
from synth.inputs.values import plain, read_json

SPACES = st.text(" \t\n\r", max_size=3)
KEYS = st.sampled_from(['a"', "b", "c:", 'd" :'])


@given(st.lists(st.tuples(KEYS, SPACES, SPACES), max_size=4), st.booleans())
def test_a_key_twice_is_refused_however_its_colon_is_spaced(members, nested):
    pairs = [f"{json.dumps(key)}{one}:{two}1" for key, one, two in members]
    text = f"{{{','.join(pairs)}}}"
    if nested:
        text = f'{{"list": [0.5, {text}]}}'
    keys = [key for key, _, _ in members]
    if len(set(keys)) == len(keys):
        assert read_json(text.encode()) == json.loads(text)
    else:
        with pytest.raises(ValueError, match="twice"):
            read_json(text.encode())
    assert read_json(text.encode(), twins=False) == json.loads(text)


@pytest.mark.parametrize("depth", [900, 1010, 1500, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_value_that_is_nested_too_deep_is_no_traceback(depth, opening):
    closing = b"]" if opening == b"[" else b"}"
    text = b'{"v":' + opening * depth + b"1" + closing * depth + b"}"
    try:
        value = read_json(text)
    except ValueError:
        return
    assert set(value) == {"v"}


class Colour(enum.IntEnum):
    RED = 3


class Word(enum.StrEnum):
    RED = "red"


class Ratio(float):
    """A program's own number."""


class Place(int):
    """Another one."""


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Colour.RED, 3),
        (Word.RED, "red"),
        (Ratio(0.5), 0.5),
        (Ratio("nan"), None),
        (Place(2**70), 2**70),
        (decimal.Decimal("1E+3"), "1000"),
        (decimal.Decimal("0.10"), "0.10"),
        (decimal.Decimal("NaN"), None),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(hours=1), "1:00:00"),
        (b"text", "text"),
        (bytearray(b"\x00\xff"), "AP8="),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ({2, 1}, [1, 2]),
        ((1, [Colour.RED]), [1, [3]]),
        ({1: {Word.RED: None}}, {"1": {"red": None}}),
    ],
)
def test_a_value_of_a_program_is_one_of_json(value, wanted):
    found = plain({"v": value, 7: value}, "row 1")
    assert found == {"v": wanted, "7": wanted}
    assert json.loads(json_line(found)) == found


@pytest.mark.parametrize("value", [object(), Fraction(1, 2), 1j, print, Path])
def test_a_value_without_a_meaning_is_named_with_its_place(value):
    with pytest.raises(WrongUse) as error:
        plain({"deep": [{"v": value}]}, "x.jsonl:7")
    said = str(error.value)
    assert said.startswith(
        f"x.jsonl:7: found deep holds a {type(value).__name__}"
    )
    assert "leave the column out" in said


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just("half \ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_a_line_is_read_back_as_it_was(row):
    line = json_line(row)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == row
    if "\\ud800" not in line.decode():
        assert read_json(line) == row


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("other", ["plain", "half \ud800", 2**70])
def test_what_json_does_not_have_is_null_whatever_stands_beside_it(
    odd, other, tmp_path
):
    row = {"n": odd, "deep": [{"n": odd}], "other": other}
    path = tmp_path / "x.jsonl"
    assert write_jsonl(path, [row, row]) == 2
    lines = path.read_bytes().splitlines()
    wanted = {"n": None, "deep": [{"n": None}], "other": other}
    assert [json.loads(line) for line in lines] == [wanted, wanted]
    if other == 2**70:
        assert list(read_rows(path)) == [wanted, wanted]


def test_lines_go_into_a_device_as_they_are():
    assert write_jsonl(Path("/dev/null"), [{"a": 1}] * 3) == 3
    assert not Path("/dev/null").is_file()
