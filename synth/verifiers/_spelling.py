r"""Other spellings of the same answer, brought to one: LaTeX, number words, mixed numbers, choices, yes and no, dates, sets, tuples."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

_GROUP = r"\{([^{}]*)\}"
_FRACTION = re.compile(rf"\\[dt]?frac\s*(?:{_GROUP}\s*{_GROUP}|(\d)\s*(\d))")
_WORDS_AROUND = re.compile(rf"\\(?:text|mathrm|mathbf|textbf|boxed|mbox|operatorname)\s*{_GROUP}")
_LEAVE_OUT = re.compile(r"\\(?:left|right|,|!|;|:|quad|qquad|displaystyle)(?![a-zA-Z])|\^\s*\{?\\circ\}?|\\\(|\\\)|\\\[|\\\]|\\?\$|~")
_OPERATORS = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\%": "%", r"\lbrace": "{", r"\rbrace": "}", r"\{": "{", r"\}": "}"}
_OPERATOR = re.compile("|".join(re.escape(word) for word in sorted(_OPERATORS, key=len, reverse=True)))
_POWER = re.compile(r"\^\s*\{([^{}]*)\}")
_MIXED = re.compile(r"(?<![\d/.)])(-?)(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d/.])")
_MIXED_LATEX = re.compile(r"(?<![\d/.)])(-?)(\d+)\s*(\(\(\d+\)/\(\d+\)\))")
_SCIENTIFIC = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.])")
_ROUNDS = 8
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {**{word: n for n, word in enumerate(_UNITS.split())}, **{word: 10 * n for n, word in enumerate(_TENS.split(), 2)}}
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_VALUE = re.compile(rf"\d|\\|\b(?:{'|'.join([*_SMALL, *_LARGE])})\b", re.IGNORECASE)
_CHOICE = re.compile(r"(?:the\s+)?(?:answer|option|choice)?\s*(?:is\s+)?[(\[]?([a-j])[)\].:]?", re.IGNORECASE)
_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
_MONTH = "|".join(f"{month[:3]}(?:{month[3:]})?" if len(month) > 3 else month for month in _MONTHS)
_DATES = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)"),
    re.compile(rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<n>{_MONTH})\.?,?\s+(?P<y>\d{{4}})", re.IGNORECASE),
    re.compile(rf"(?P<n>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})", re.IGNORECASE),
)
_LIST = re.compile(r"\{(.*)\}|\((.*,.*)\)|\[(.*,.*)\]|([^{}()\[\]]*,[^{}()\[\]]*)", re.DOTALL)
_YES = {"yes": "yes", "y": "yes", "yeah": "yes", "no": "no", "n": "no", "nope": "no"}


def may_have_value(text: str) -> bool:
    """Whether a text has a digit, LaTeX or a number word in it: a cheap look before the dear ones."""
    return _VALUE.search(text) is not None


def plain(text: str) -> str:
    r"""The expression behind LaTeX, number words, mixed and scientific numbers.

    >>> plain(r"$3\frac12$"), plain(r"1.0 \times 10^{2}"), plain("twenty-five"), plain("1e3")
    ('(3+((1)/(2)))', '1.0 * 10^(2)', '25', '(1*10^(3))')
    """
    text = _OPERATOR.sub(lambda found: f" {_OPERATORS[found[0]]} ", _LEAVE_OUT.sub(" ", text)) if _looks_odd(text) else text
    for _ in range(_ROUNDS):
        before = text
        text = _WORDS_AROUND.sub(r" \1 ", _FRACTION.sub(_as_division, _POWER.sub(r"^(\1)", text)))
        if text == before:
            break
    text = _MIXED.sub(r"\1(\2+\3/\4)", _MIXED_LATEX.sub(r"\1(\2+\3)", text))
    text = _SCIENTIFIC.sub(lambda found: f"({found[1]}*10^({int(found[2])}))" if abs(int(found[2])) < 60 else found[0], text)
    value = _words(text)
    return str(value) if value is not None else " ".join(text.split())


def _looks_odd(text: str) -> bool:
    return any(sign in text for sign in "\\$~")


def _as_division(found: re.Match[str]) -> str:
    top, bottom = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return f"(({top})/({bottom}))"


def _words(text: str) -> int | None:
    """The value of number words up to billions, None where anything else stands in the text."""
    words = [word for word in re.split(r"[\s-]+", text.casefold().strip()) if word != "and"]
    if not words or len(words) > 20 or any(word not in _SMALL and word not in _LARGE for word in words):
        return None
    total = part = 0
    for word in words:
        if word in _SMALL:
            part += _SMALL[word]
        elif word == "hundred":
            part = max(1, part) * 100
        else:
            total, part = total + max(1, part) * _LARGE[word], 0
    return total + part


def special(text: str, element: Callable[[str], str]) -> str | None:
    r"""One text for choices, yes and no, dates, sets and tuples; None for anything else.

    Args:
        text: the answer, NFKC and stripped.
        element: makes one text of an element of a set or a tuple.

    >>> special("(B)", str), special("Option b.", str), special("5th March 2024", str), special(r"\{2, 1\}", str)
    ('b', 'b', 'date 2024-03-05', 'set 1; 2')
    """
    word = text.strip(" .!*")
    if word.casefold() in _YES:
        return _YES[word.casefold()]
    if choice := _CHOICE.fullmatch(word):
        return choice[1].casefold()
    found = day(word) if word[-1:].isdigit() else None
    return found or (_collection(text, element) if "," in text or "{" in text else None)


def day(text: str) -> str | None:
    """One text for all spellings of a calendar day, None for anything else."""
    for pattern in _DATES:
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            month = int(parts["m"]) if "m" in parts else [m[:3] for m in _MONTHS].index(parts["n"][:3].casefold()) + 1
            try:
                return f"date {date(int(parts['y']), month, int(parts['d'])).isoformat()}"
            except ValueError:
                return None
    return None


def _collection(text: str, element: Callable[[str], str]) -> str | None:
    """Sets (braces, or a bare list of numbers) without order or doubles, tuples and brackets in order."""
    found = _LIST.fullmatch(plain(text))
    if found is None:
        return None
    inside = next(group for group in found.groups() if group is not None)
    parts = [element(part.strip()) for part in inside.split(",")]
    numbers = all(part.startswith("=") for part in parts)
    if found[1] is not None or (found[4] is not None and numbers and len(parts) > 1):
        return f"set {'; '.join(sorted(set(parts)))}"
    return f"tuple {'; '.join(parts)}" if found[4] is None and numbers else None
