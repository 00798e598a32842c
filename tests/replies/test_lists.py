"""Items of lists are those that a reader of Markdown sees, with marks of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.replies.lists import MOST_ITEMS, items_in, plain, without_mark
from tests.tables import cells, table

ITEM = st.from_regex(r"[A-Z][a-z]{2,6}( [a-z]{3,6}){0,3}[?.]?", fullmatch=True)
ITEMS = st.lists(ITEM, min_size=2, max_size=6)


def markdown_items(text: str) -> list[str]:
    """The first line of each item of the outermost list, by markdown-it."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    depth = 0
    items = []
    for token in parser.parse(text):
        depth += token.nesting if token.type.startswith("list_item") else 0
        if token.type == "list_item_open" and depth == 1:
            items.append("")
        if token.type == "inline" and depth == 1 and not items[-1]:
            items[-1] = token.content
    return items


@given(
    ITEMS,
    st.sampled_from(["- ", "* ", "+ ", "1. ", "1) "]),
    ITEMS,
    st.booleans(),
)
def test_items_are_those_of_markdown(items, mark, inner, deep):
    lines = []
    for number, item in enumerate(items, 1):
        own = mark.replace("1", str(number))
        lines.append(own + item)
        if deep and number == 1:
            lines += [" " * len(own) + f"- {one}" for one in inner]
    text = "\n".join(lines)
    assert items_in(text) == markdown_items(text) == items


MARKS = cells(
    r"""
'{}. ' | '{}) ' | '({}) ' | '[{}] ' | '{}: ' | 'Step {}: ' | 'Q{}: ' | '**{}.** ' | '### {}. '
'> {}. ' | 'Question #{}. ' | '{}\u3001' | '  {}. '
"""
)


@settings(max_examples=30)
@given(
    mark=st.sampled_from(MARKS),
    items=ITEMS,
    lead=st.sampled_from(["", "Here they are:\n\n"]),
    gap=st.sampled_from(["\n", "\n\n", "\r\n"]),
)
def test_every_mark_of_a_number_is_read(mark, items, lead, gap):
    lines = [mark.format(n) + item for n, item in enumerate(items, 1)]
    assert items_in(lead + gap.join(lines)) == items


@pytest.mark.parametrize(
    ("text", "items"),
    table(
        r"""
'' | []
'no list' | []
'1.\n2.' | []
'-' | []
'- ' | []
'1.5 apples\n2.5 pears' | []
'1. a' | ['a']
'2024. A year\n1. a' | ['a']
'- [x] done\n- [ ] open' | ['done', 'open']
'1. a\n- b\n2. c' | ['a', 'c']
'- a\n  1. b\n  2. c\n- d' | ['a', 'd']
'1. **Costs:** a' | ['Costs: a']
'**Step 1:**\nthe first\n**Step 2:**\nthe second' | ['the first', 'the second']
'1. a\n\n   more\n2. b' | ['a', 'b']
'a. one' | []
'\u2022 a\n\u2022 b' | ['a', 'b']
'\u2013 a\n\u2013 b' | ['a', 'b']
'1\ufe0f\u20e3 a\n2\ufe0f\u20e3 b' | ['a', 'b']
'1. "a"\n2. `b`\n3. \u201cc\u201d' | ['a', 'b', 'c']
'-5 is cold\n-6 too' | []
'1. a\n1. b\n1. c' | ['a', 'b', 'c']
"""
    ),
)
def test_lists_as_models_write_them(text, items):
    assert items_in(text) == items


def test_a_list_has_an_end():
    many = "\n".join(f"- item {n}" for n in range(MOST_ITEMS + 50))
    assert len(items_in(many)) == MOST_ITEMS
    numbered = "\n".join(f"{n}. item {n}" for n in range(1, MOST_ITEMS + 50))
    assert items_in(numbered)[-1] == f"item {MOST_ITEMS}"
    long = "1. " + "a" * 5000 + "\n2. b"
    assert items_in(long) == ["a" * 5000, "b"]


@pytest.mark.parametrize(
    ("item", "bare"),
    [
        *table(
            r"""
'**a**' | 'a'
'__a__ b' | 'a b'
'**a' | 'a'
'a**' | 'a'
'2 ** 3' | '2 ** 3'
'' | ''
'***a***' | 'a'
'`a` and `b`' | '`a` and `b`'
'"a" or "b"' | '"a" or "b"'
'\u300ca\u300d' | 'a'
"'a'" | "'a'"
' a ' | 'a'
'_a_' | 'a'
'a_b' | 'a_b'
"""
        ),
        ("*a*", "*a*"[1:2]),
        ("**" * 3, ""),
    ],
)
def test_decoration_of_an_item(item, bare):
    assert plain(item) == bare


@given(st.text("ab*_`\"' .", max_size=12))
def test_a_plain_item_gets_no_longer(item):
    assert len(plain(item)) <= len(item)
    assert plain(item) == plain(item).strip()


@pytest.mark.parametrize(
    ("line", "rest"),
    table(
        r"""
'1. a' | 'a'
'- a' | 'a'
'-a' | '-a'
'a' | 'a'
'(3) a' | 'a'
'a) b' | 'a) b'
'* x = 1' | 'x = 1'
'' | ''
'1.a' | '1.a'
'> - a' | 'a'
'Step 2: x' | 'x'
"""
    ),
)
def test_a_line_without_its_mark(line, rest):
    assert without_mark(line) == rest
