r"""JSON as models write it, put into strict JSON; what was changed is said, and nothing is
invented, closed or left out.

| written | read | said |
|---|---|---|
| `"\frac{1}{2}"`, `"\times"`, `"\(x\)"` | the backslash stays one | LaTeX's backslashes |
| `[1, 2,]`, `{"a": 1,}` | without the last comma | a trailing comma |
| `'it''s'` written with an apostrophe, U+201C quotes | text | other quotation marks |
| `True`, `False`, `None` | true, false, null | Python's words |
| `// so`, `# so`, `/* so */` outside of texts | left out | comments |
| `{a: 1}` | `{"a": 1}` | keys without quotation marks |
| a line break or tab in a text | itself | line breaks in a text |
| an object or text that never ends, a missing value, comma or colon, a key twice | unreadable | |
"""

from __future__ import annotations

import re

from synth.core.patterns import lazy_pattern

# Commands of LaTeX that JSON would take for a line break, a carriage return or a tab and the rest
# of a word.
_COMMANDS = {
    "n": """
        nabla natural ncong ne nearrow neg neq newcommand newline nexists ngeq ngtr nleftarrow
        nleq nless nmid nolimits nonumber normalfont normalsize not notin nparallel nprec
        nrightarrow nsim nsubseteq nsucc nsupseteq nu nvdash nwarrow
    """,
    "r": """
        rangle rbrace rbrack rceil ref relax renewcommand rfloor rgroup rhd rho right rightarrow
        rightharpoondown rightharpoonup rightleftharpoons rightrightarrows rightsquigarrow rm
        root rtimes rule rVert rvert
    """,
    "t": """
        tag tan tanh tau tbinom text textbf textdegree textit textnormal textrm textsc textsf
        textstyle textsubscript textsuperscript texttt textup tfrac therefore theta thickapprox
        thicksim thinspace tilde times tiny to top triangle triangleleft trianglelefteq
        triangleq triangleright tt twoheadrightarrow
    """,
}
_NAMES = {first: frozenset(names.split()) for first, names in _COMMANDS.items()}
# These may also be a line break or tab before a short word: "yes\nu otro".
_SHORT = frozenset({"ne", "nu", "neg", "not", "to", "tan", "top", "tt", "rm"})
_MATH_BEFORE = frozenset(" $({[=+-*/^_,<>|\"'") | frozenset("0123456789")
_ESCAPE = lazy_pattern(
    r"""\\(?:[\\"/]|u[0-9a-fA-F]{4}|(?P<word>[A-Za-z]+)|(?P<sign>[^\s'])|)"""
)
# No look-ahead stands in a group that ends with *+: Python 3.11.2 misreads that.
# These open a text where a value may stand, and nowhere else: elsewhere each would be looked at up
# to the end of the reply.
_OTHER_TEXTS = (
    r"""(?P<single>'(?>(?:[^'\\]++|\\.|'(?!\s{0,20}[,:}\]]))*)')"""
    "|(?P<curly>\u201c[^\u201d]*+\u201d)|"
)
_REST = (
    r"""(?P<text>"(?:[^"\\]|\\.)*+")|(?P<open>"(?:[^"\\]|\\.)*+)"""
    # A comment without end is all that follows: what begins in it is not looked at again.
    r"""|(?P<comment>//[^\n]*|/\*[^*]*+\*++(?:[^*/][^*]*+\*++)*+/|/\*.*+|\#[^\n]*)"""
    r"""|(?P<word>[A-Za-z_$][\w$]*+)|(?P<space>\s++)|(?P<other>[-+.\w]++|.)"""
)
_VALUE = lazy_pattern(_OTHER_TEXTS + _REST, re.DOTALL)
_TOKEN = lazy_pattern(_REST, re.DOTALL)
_CONTROL = lazy_pattern(r"[\x00-\x1f]")
_IN_SINGLE = lazy_pattern(r"""\\(.)|(")""", re.DOTALL)
_PYTHON = {"True": "true", "False": "false", "None": "null"}
LATEX = "LaTeX's backslashes"
_QUOTES = "other quotation marks"
_OPEN_QUOTES = ("'", "\u201c")


def keep_backslashes(text: str) -> str:
    r"""The text with each backslash doubled that begins no escape of JSON, or that JSON would take
    for one and LaTeX does not mean so.

    >>> print(
    ...     keep_backslashes(
    ...         r'{"a": "\frac{1}{2} \times \nu", "b": "one\ntwo", "c": "\\pi \u00e9"}'
    ...     )
    ... )
    {"a": "\\frac{1}{2} \\times \\nu", "b": "one\ntwo", "c": "\\pi \u00e9"}
    """
    return _ESCAPE.sub(
        lambda escape: "\\" + escape[0] if _is_latex(escape) else escape[0],
        text,
    )


def _is_latex(escape: re.Match[str]) -> bool:
    word = escape["word"]
    if word is None:
        return escape["sign"] is not None
    if (
        word[0] in "bf"
    ):  # no model means a backspace or a form feed before a word
        return len(word) > 1
    if word[0] not in _NAMES:
        return True
    if word not in _NAMES[word[0]]:
        return False
    text = escape.string
    start = escape.start()
    end = escape.end()
    after = text[end : end + 2]
    is_word = after[:1] == " " and after[1:].isalpha()
    return (
        word not in _SHORT
        or not is_word
        or text[start - 1 : start] in _MATH_BEFORE
    )


def lenient(text: str, at: int) -> tuple[str, int, list[str]] | None:
    r"""The object that begins at a place as strict JSON, where it ends, and what was changed; None
    where it never ends.

    >>> json, end, changed = lenient("{'a': True, 'b': [1, 2,],} so", 0)
    >>> json, end
    ('{"a": true, "b": [1, 2]}', 26)
    >>> changed
    ["Python's words", 'a trailing comma', 'other quotation marks']
    """
    made: list[str] = []
    changed: set[str] = set()
    depth, last = 0, ""  # the last token that is no white space
    begins_value = False
    while token := (_VALUE if begins_value else _TOKEN).match(text, at):
        at = token.end()
        kind = token.lastgroup
        token_text = token[0]
        if kind == "space" or (
            kind == "comment" and (token_text[0] != "#" or last != ":")
        ):
            made.append(token_text if kind == "space" else " ")
            changed.update(["comments"] if kind == "comment" else [])
            continue
        if kind == "open" or (begins_value and token_text in _OPEN_QUOTES):
            return None  # a text that never ends
        if kind in ("text", "single", "curly"):
            token_text = (
                _text(token_text, kind, changed) if begins_value else token_text
            )
        elif kind == "word":
            token_text = _word(token_text, last, text, token.end(), changed)
        elif last == "," and token_text in ("}", "]"):
            changed.add("a trailing comma")
            made[
                len(made)
                - 1
                - next(
                    n for n, part in enumerate(reversed(made)) if part == ","
                )
            ] = ""
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token_text, 0)
        made.append(token_text)
        last = token_text
        begins_value = last in ("{", "[", ",", ":")
        if depth == 0:
            return "".join(made), token.end(), sorted(changed)
    return None


def _text(literal: str, kind: str, changed: set[str]) -> str:
    """A text between any quotation marks, as JSON writes it."""
    if kind != "text":
        changed.add(_QUOTES)
        literal = _requoted(literal, kind)
    if "\\'" in literal:
        literal = re.sub(
            r"\\(.)",
            lambda m: "'" if m[1] == "'" else m[0],
            literal,
            flags=re.DOTALL,
        )
        changed.add(_QUOTES)
    if _CONTROL.search(literal):
        changed.add("line breaks in a text")
        literal = _CONTROL.sub(lambda sign: f"\\u{ord(sign[0]):04x}", literal)
    return literal


def _requoted(literal: str, kind: str) -> str:
    inside = literal[1:-1]
    if kind == "curly":
        return '"' + inside.replace('"', '\\"') + '"'
    return '"' + _IN_SINGLE.sub(_double_quoted, inside) + '"'


def _double_quoted(match: re.Match[str]) -> str:
    """One mark of a text in single quotation marks, as it stands between double ones."""
    if match[2]:
        return '\\"'
    return "'" if match[1] == "'" else match[0]


def _word(word: str, last: str, text: str, end: int, changed: set[str]) -> str:
    """A key without quotation marks, or one of Python's words."""
    if last in ("{", ",") and re.compile(r"\s{0,20}:").match(text, end):
        changed.add("keys without quotation marks")
        return f'"{word}"'
    if word in _PYTHON:
        changed.add("Python's words")
        return _PYTHON[word]
    return word
