"""Errors say where, what was found, what was wanted, what to do, and nothing that acts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import errors
from synth.core.errors import (
    PotstillError,
    RowFault,
    WrongUse,
    did_you_mean,
    fault_of,
    markdown,
    printable,
    require_share,
)
from tests.tables import table

CODES = {
    "WrongUse": 2,
    "RowFault": 2,
    "BudgetReached": 4,
    "NothingKept": 6,
    "Stopped": 5,
    "Unfinished": 1,  # of the class; each has the code of what stopped
    "TeacherError": 1,
    "TeacherBusy": 1,
    "TeacherRefused": 1,
    "Unreadable": 1,
    "PotstillError": 1,
}


@pytest.mark.parametrize("name", CODES)
def test_every_error_has_its_exit_code(name):
    kind = getattr(errors, name)
    assert issubclass(kind, PotstillError)
    assert kind.exit_code == CODES[name]


def test_the_tree_is_complete():
    tree = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, PotstillError)
    }
    assert tree == set(CODES)
    assert issubclass(WrongUse, ValueError)


@given(st.text(), st.text(), st.text(), st.text())
def test_a_wrong_use_says_its_parts_and_nothing_that_acts(
    one, two, three, four
):
    parts = (one, two, three, four)
    for kind in (WrongUse, RowFault):
        message = str(kind(*parts))
        assert message == printable(message)
        assert message.encode().decode() == message
        for sign in message:
            is_control = unicodedata.category(sign) in ("Cc", "Cs")
            assert sign in "\t\n" or not is_control
    where, got, wanted, todo = map(printable, parts)
    assert message == f"{where}: found {got}; wanted {wanted}. {todo}"


def test_long_parts_are_cut_and_their_order_stays():
    error = WrongUse("w" * 5000, "g" * 5000, "x" * 5000, "t" * 5000)
    message = str(error)
    assert [message.count(sign) for sign in "gx"] == [4000, 4000]
    assert len(message) < 16_100
    assert error.args[0] == "w" * 5000


FORMATS = [
    chr(code)
    for code in range(0x10000)
    if unicodedata.category(chr(code)) == "Cf"
]


def test_signs_that_hide_or_turn_text_are_spelt_out():
    hidden = {*FORMATS} - {printable(sign) for sign in FORMATS}
    # What stays is seen: marks of numbers in Arabic, Syriac and Kaithi scripts.
    left = {sign for sign in FORMATS if printable(sign) == sign}
    assert hidden >= {"\u202e", "\u200b", "\u00ad", "\ufeff", "\u2066"}
    assert all(sign > "\u0500" for sign in left)
    assert not any("\u2000" <= sign < "\u2100" for sign in left)
    for code in (*range(0x20), *range(0x7F, 0xA0), 0xE0041):
        shown = printable(chr(code))
        assert shown in "\t\n" or shown.isascii(), code


@given(st.text(st.sampled_from("ab #-*`[]()<>|&\\\n\x1b=~:+_!1.")))
def test_a_text_in_markdown_shows_itself(text):
    parser = pytest.importorskip("markdown_it").MarkdownIt()
    line = markdown(text)
    assert "\n" not in line
    tokens = parser.parseInline(line)[0].children if line else []
    kinds = {token.type for token in tokens}
    assert kinds.isdisjoint(
        {"link_open", "image", "html_inline", "code_inline"}
    )
    blocks = {token.type for token in parser.parse(line)}
    assert blocks <= {
        "paragraph_open",
        "inline",
        "paragraph_close",
        "ordered_list_open",
        "list_item_open",
        "list_item_close",
        "ordered_list_close",
    }


def raiser() -> None:
    raise KeyError("x")


def test_a_fault_of_foreign_code_names_its_last_line():
    try:
        raiser()
    except KeyError as error:
        said = fault_of(error)
    line = raiser.__code__.co_firstlineno + 1
    assert said == f"KeyError: 'x', at test_errors.py:{line}"
    assert fault_of(ValueError("y")) == "ValueError: y"


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        *table(
            r"""
'lenght' | ['length', 'width'] | 'Did you mean length? Known: length, width.'
'zzz' | ['b', 'a'] | 'Known: a, b.'
'x' | [] | 'Known: none.'
'' | ['a'] | 'Known: a.'
"""
        ),
        ("a", iter(["a"]), "Did you mean a? Known: a."),
    ],
)
def test_the_nearest_name_is_offered_before_the_list(name, names, hint):
    assert did_you_mean(name, names) == hint


@pytest.mark.parametrize(
    "value", [-0.001, 1.001, float("nan"), float("inf"), -1]
)
def test_what_is_no_share_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"least=.*; use 0 to 1$"):
        require_share("least", value)


def test_borders_of_shares():
    for value in (0, 0.5, 1, True):
        require_share("least", value)
    require_share("least", 0.999, below=True)
    with pytest.raises(ValueError, match="least=1; use 0 to below 1"):
        require_share("least", 1, below=True)
