r"""The items of a list, as models mark and decorate them.

| spelling | read |
|---|---|
| `1. a`, `1) a`, `(1) a`, `[1] a`, `1: a`, U+2460 `a`, `1` U+3001 `a` | a |
| `Q1: a`, `Step 1: a`, `Question #1. a` | a |
| `a. a`, `(b) a`, `i. a`, `II) a`, where the first is a or i and there are two | a |
| `- a`, `* a`, `+ a`, U+2022 and its kin, `- [ ] a` | a |
| `**1.** a`, `**1. a**`, `### Step 1: a`, `> 1. a`, `"a"` | a |
| `**1. Costs:** a` | `Costs: a` |
| `**Step 1:**` and the item on the next line | that line |
| a line without a mark, before, between and behind | passed over |
| marks that are deeper | passed over: they belong to an item |
| bullets between numbers at the same depth | passed over: they belong to an item |
"""

from __future__ import annotations

import re
from typing import NamedTuple

from synth.core.patterns import lazy_pattern

MOST_ITEMS = 200
# A longer line is left as it is written.
_MOST_LINE = 2000
_MOST_LINES = 20_000
_WORDS = (
    "equation|q|question|sub-?question|step|item|part|point|criterion|criteria|aspect|concept|"
    "example|idea|statement|fact|event|task|query|no\\.?|number|topic|category"
)
_LINE = lazy_pattern(
    r"^(?P<indent>[^\S\n]{0,40})(?:>[^\S\n]?)?(?:\#{1,6}[^\S\n]{1,4})?(?P<bold>\*{2,3}|__)?(?:"
    rf"(?P<number>(?:\b(?:{_WORDS})[^\S\n]?\#?)?(?:[(\[\uff08]\d{{1,3}}[)\]\uff09][.:]?"
    rf"|\d{{1,3}}(?:[.):\uff0e\uff09\u3001]|\ufe0f?\u20e3))"
    r"|[\u2460-\u2473\u2776-\u277f])"
    r"|(?P<letter>\(?(?:[a-z]|[ivx]{2,6})[.)])"
    r"|(?P<bullet>[-*+\u2022\u2023\u25aa\u25ab\u25e6\u25cf\u25cb\u25ba\u25b8\u00b7\u2013\u2014]"
    r"(?:[^\S\n]\[[ x]\])?)"
    r")(?P<unbold>\*{2,3}|__)?(?P<gap>[^\S\n]+|$|(?=[^\W\d_]))(?P<rest>.*)$",
    re.IGNORECASE,
)
_BOLD = lazy_pattern(r"(\*{2,3}|__)(?=\S)(.*?\S)\1")
_WRAPPED = lazy_pattern(
    r"""([*_`"])([^*_`"]+)\1|\u201c([^\u201c\u201d]+)\u201d|\u300c([^\u300c\u300d]+)\u300d"""
)


_PLAIN_MARKS = [
    (f"{number}. ", f"{number}) ") for number in range(1, MOST_ITEMS + 1)
]

# What an item begins with that `_WRAPPED` matches.
_WRAPS = frozenset('*_`"\u201c\u300c')


class Mark(NamedTuple):
    """A line that begins with the mark of a list: its kind, its depth in blanks, its name, and the
    text behind it.
    """

    kind: str
    depth: int
    name: str
    rest: str


def items_in(text: str) -> list[str]:
    r"""The items of the outermost list of a text, at most 200.

    >>> items_in(
    ...     "To solve it:\n\n1. **What do the pens cost?**\n   - 3 pens\n2) What is left?\nGo!"
    ... )
    ['What do the pens cost?', 'What is left?']
    """
    plainly = _numbered_plainly(text)
    if plainly is not None:
        return plainly
    marks = _outermost(_marks(text))
    if len(marks) == 1:
        marks = _on_one_line(marks[0])
    return [item for mark in marks[:MOST_ITEMS] if (item := plain(mark.rest))]


def _numbered_plainly(text: str) -> list[str] | None:
    """The items of a text that is two or more lines "1. a", "2. b", "3) c" and no more; else None.

    It says what `items_in` says of such a text, without a pattern.
    """
    if not text.startswith(_PLAIN_MARKS[0]):
        return None
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not 1 < len(lines) <= MOST_ITEMS:
        return None
    rests = []
    for line, marks in zip(lines, _PLAIN_MARKS, strict=False):
        rest = line[len(marks[0]) :]
        if not line.startswith(marks) or not rest or rest.isspace():
            return None
        rests.append(rest)
    return [item for rest in rests if (item := plain(rest))]


def _marks(text: str) -> list[Mark]:
    lines = [
        line.rstrip()
        for line in text.split("\n")
        if line and not line.isspace()
    ][:_MOST_LINES]
    matches = [
        _LINE.match(line)
        if len(line) <= _MOST_LINE or not line[0].isspace()
        else None
        for line in lines
    ]
    marks = []
    for index, match in enumerate(matches):
        if match is None:
            continue
        kind = next(
            kind for kind in ("number", "letter", "bullet") if match[kind]
        )
        if kind == "bullet" and not match["gap"]:
            continue
        rest = (
            (match["bold"] or "") + match["rest"]
            if match["bold"] and not match["unbold"]
            else match["rest"]
        )
        if (
            not rest.strip("*_ ")
            and index + 1 < len(lines)
            and matches[index + 1] is None
        ):
            rest = lines[index + 1].strip()
        marks.append(
            Mark(
                kind,
                len(match["indent"].expandtabs(4)),
                match[kind].strip("().").casefold(),
                rest,
            )
        )
    return marks


def without_mark(line: str) -> str:
    """A line without the mark of a list that it begins with; words before a number belong to the
    line.

    >>> without_mark("- x = 12"), without_mark("2) x = 12"), without_mark("-x = 12")
    ('x = 12', 'x = 12', '-x = 12')
    """
    match = _LINE.match(line) if len(line) <= _MOST_LINE else None
    if match and match["gap"] and not match["letter"]:
        return match["rest"]
    return line


def _outermost(marks: list[Mark]) -> list[Mark]:
    """The marks of one kind that are least deep: numbers before letters before bullets, unless
    bullets hold the others.
    """
    of: dict[str, list[Mark]] = {"number": [], "letter": [], "bullet": []}
    for mark in marks:
        of[mark.kind].append(mark)
    names = [mark.name for mark in of["letter"]]
    if names[:2] not in (["a", "b"], ["i", "ii"]):
        of["letter"] = []
    for kind in ("number", "letter"):
        if chosen := of[kind]:
            before = marks[: marks.index(chosen[0])]
            if any(
                mark.kind == "bullet" and mark.depth < chosen[0].depth
                for mark in before
            ):
                continue
            return _least_deep(chosen)
    return _least_deep(of["bullet"])


def _least_deep(marks: list[Mark]) -> list[Mark]:
    least = min((mark.depth for mark in marks), default=0)
    return [mark for mark in marks if mark.depth <= least + 1]


def _on_one_line(mark: Mark) -> list[Mark]:
    """The items of "1. a 2. b 3. c"."""
    if mark.kind != "number" or mark.name != "1" or len(mark.rest) > _MOST_LINE:
        return [mark]
    items = []
    rest = mark.rest
    for number in range(2, MOST_ITEMS):
        following = re.search(rf"(?<=\S)\s+\(?{number}[.)]\s+(?=\S)", rest)
        if not following:
            break
        items.append(mark._replace(rest=rest[: following.start()]))
        rest = rest[following.end() :]
    return [*items, mark._replace(rest=rest)]


def plain(item: str) -> str:
    """An item without bold marks and without what wraps all of it.

    >>> plain("**Costs**: what do 2 ** 3 pens cost?"), plain('"plants"'), plain("What?**")
    ('Costs: what do 2 ** 3 pens cost?', 'plants', 'What?')
    """
    item = item.strip()
    if len(item) > _MOST_LINE:
        return item
    if "**" in item or "__" in item:
        item = _BOLD.sub(r"\2", item)
        for mark in ("***", "**", "__"):
            item = item.removeprefix(mark).removesuffix(mark)
        item = item.strip()
    if item[:1] not in _WRAPS:
        return item
    wrapped = _WRAPPED.fullmatch(item)
    return next(filter(None, wrapped.groups()[1:])).strip() if wrapped else item
