r"""Other spellings of the same answer, brought to one: LaTeX, wrappings, dates, times, choices."""

from __future__ import annotations

import re
from datetime import date
from math import isqrt

from synth.core.patterns import lazy_pattern

_GROUP = r"\{([^{}]*)\}"
_FRACTION = lazy_pattern(
    rf"\\[dtc]?frac\s*(?:{_GROUP}|(\d))\s*(?:{_GROUP}|(\d))"
)
_WORDS_AROUND = lazy_pattern(
    r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mathit|mathsf|mathbb|boxed|fbox|mbox"
    rf"|operatorname)\s*{_GROUP}"
)
_LEAVE_OUT = lazy_pattern(
    r"\\(?:left|right|bigl|bigr|big|Big|displaystyle|quad|qquad)(?![a-zA-Z])|\\[,;:! ]"
    r"|\\\(|\\\)|\\\[|\\\]|(?<![\\\d])~(?!\d)|(?<=\d)~(?=\d)"
)
_SAYS = {
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    r"\%": "%",
    r"\$": "$",
    r"\lbrace": "{",
    r"\rbrace": "}",
    r"\{": "{",
    r"\}": "}",
    r"\_": "_",
    r"\pi": "pi",
    r"\infty": "inf",
    r"\pm": "\u00b1",
    r"\leq": "<=",
    r"\le": "<=",
    r"\geq": ">=",
    r"\ge": ">=",
    r"\neq": "!=",
    r"\ne": "!=",
    r"\lt": "<",
    r"\gt": ">",
    r"\degree": "\u00b0",
    r"\cup": "\u222a",
    r"\approx": "~",
    r"\sim": "~",
    r"\euro": "\u20ac",
    r"\pounds": "\u00a3",
}
_WORD_OF_TEX = lazy_pattern(
    "|".join(
        re.escape(w) + (r"(?![a-zA-Z])" if w[-1].isalpha() else "")
        for w in sorted(_SAYS, key=len, reverse=True)
    )
)
_CIRCLE = lazy_pattern(
    r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z])|\(\s*\\circ\s*\))"
)
_SIGNS = str.maketrans(
    {
        "\u2264": "<=",
        "\u2265": ">=",
        "\u2260": "!=",
        "\u03c0": "pi",
        "\u221e": "inf",
    }
)
_POWER = lazy_pattern(r"\^\s*\{([^{}]*)\}")
_ROOT = lazy_pattern(
    rf"\\sqrt\s*(?:{_GROUP}|(\d))|\u221a\s*(?:\(([^()]*)\)|(\d+))"
)
_SQUARE = lazy_pattern(r"(?<![a-z])sqrt\((\d{1,30})\)")
_GROUP_COMMA = lazy_pattern(r"(?<=\d)\{,\}(?=\d)")
_MIXED = lazy_pattern(
    r"(?<![\d/.,)^])(-?)(\d+)\s+(?:and\s+)?(\d+)\s*/\s*(\d+)(?![\d/.])"
)
_MIXED_LATEX = lazy_pattern(r"(?<![\d/.)])(-?)(\d+)\s*(\(\(\d+\)/\(\d+\)\))")
_TIMES_TEN = lazy_pattern(r"(?<=\d)\s*[xX\u00d7]\s*(?=10\s*\^)")
_SCIENTIFIC = lazy_pattern(
    r"(?<![\w.])(-?\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.])"
)
_ROUNDS = 8
_MATRIX = lazy_pattern(
    r"\\begin\{([pbvV]?)matrix\}(.*?)\\end\{\1matrix\}", re.DOTALL
)
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = "|".join(
    f"{month[:3]}(?:{month[3:]})?" if len(month) > 3 else month
    for month in _MONTHS
).replace("sep(?:", "sep(?:t|")
_YEAR_FIRST = (
    r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)(?:[T ]00:00(?::00)?(?:\.0+)?Z?)?"
    r"|(?P<y2>\d{4})[/.](?P<m2>\d{1,2})[/.](?P<d2>\d{1,2})"
)
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_DAY_OF_MONTH = r"(?:the\s+)?(?P<d>\d{1,2})(?:st|nd|rd|th)?"
_MAYBE_YEAR = r"(?:,?\s+(?P<y>\d{4}))?"
_DATES = (
    lazy_pattern(_YEAR_FIRST),
    lazy_pattern(r"(?P<y>\d{4})\u5e74(?P<m>\d{1,2})\u6708(?P<d>\d{1,2})\u65e5"),
    lazy_pattern(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})"),
    lazy_pattern(
        rf"{_WEEKDAY}(?:the\s+)?(?P<d>\d{{1,2}})(?:st|nd|rd"
        rf"|th)?\s+(?:of\s+)?(?P<n>{_MONTH})\.?(?:,?\s+(?P<y>\d{{4}}))?",
        re.IGNORECASE,
    ),
    lazy_pattern(
        rf"{_WEEKDAY}(?P<n>{_MONTH})\.?\s+(?:the\s+)?(?P<d>\d{{1,2}})(?:st|nd|rd"
        rf"|th)?(?:,?\s+(?P<y>\d{{4}}))?",
        re.IGNORECASE,
    ),
)
_SLASHES = lazy_pattern(r"(\d{1,2})/(\d{1,2})/(\d{4})")
# A year in which every day of every month exists, for days without a year.
_LEAP_YEAR = 2000
_LONGEST_DAY = 40
_CLOCK = lazy_pattern(
    r"(\d{1,2})(?:[:.h](\d\d)(?::(\d\d))?)?\s*(?:o'?clock)?\s*(?:([ap])\.?\s*m\.?)?(?:\s*hours)?",
    re.IGNORECASE,
)
_HOURS = {"noon": "12 pm", "midday": "12 pm", "midnight": "12 am"}
_WRAPPED = (
    lazy_pattern(r"\\boxed\s*\{(.*)\}", re.DOTALL),
    lazy_pattern(r"\\\((.*)\\\)", re.DOTALL),
    lazy_pattern(r"\\\[(.*)\\\]", re.DOTALL),
    lazy_pattern(r"\$\$?(?=.*[^\d,.\s$])(.*?)(?<!\\)\$\$?", re.DOTALL),
    lazy_pattern(r"\*\*\*?(.*?)\*\*\*?", re.DOTALL),
    lazy_pattern(r"__(.*)__", re.DOTALL),
    # A pair of two may stand within a pair of one.
    lazy_pattern(r"\*((?:[^*]|\*\*[^*]+\*\*)*)\*", re.DOTALL),
    lazy_pattern(r"_((?:[^_]|__[^_]+__)*)_", re.DOTALL),
    lazy_pattern(r"`+([^`]*)`+", re.DOTALL),
    lazy_pattern(
        '["\u201c\u201e\u00ab\u300c](.*)["\u201d\u201c\u00bb\u300d]', re.DOTALL
    ),
    lazy_pattern(r"'([^']*)'", re.DOTALL),
    lazy_pattern(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", re.DOTALL),
    lazy_pattern(r"<answer>(.*)</answer>", re.DOTALL | re.IGNORECASE),
    lazy_pattern(r"\$\$?(-?[\d,.]+(?:/\d+)?)\$\$?"),
)
_ANNOUNCES = lazy_pattern(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+|my\s+)?(?:final\s+)?(?:answer"
    r"|result)\s*(?:is|:|=)\s*:?\s*(?=\S)",
    re.IGNORECASE,
)
LETTERED = lazy_pattern(
    r"(?:option|choice|answer)?\s*(?:[(\[]([a-z])[)\]][.:,]?|([a-z])(?:[).:](?=\s)|\)))\s*(\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_OPTION = lazy_pattern(
    r"(?:the\s+)?(?:correct\s+)?(?:answer|option|choice)?\s*(?:is\s+)?[(\[]?([a-j])[)\].:]?",
    re.IGNORECASE,
)


def boxed(text: str) -> str | None:
    r"""What the last box of a text holds, braces balanced; None without one that is closed and
    holds something.

    >>> boxed(r"so \boxed{\dfrac{3}{4}}."), boxed(r"\boxed{}"), boxed("3")
    ('\\dfrac{3}{4}', None, None)
    """
    for opening in reversed(list(re.finditer(r"\\(?:boxed|fbox)\s*\{", text))):
        depth = 1
        position = opening.end()
        while position < len(text) and depth:
            depth += (
                {"{": 1, "}": -1}.get(text[position], 0)
                if text[position - 1] != "\\"
                else 0
            )
            position += 1
        if not depth and (inside := text[opening.end() : position - 1].strip()):
            return inside
    return None


def bare(text: str) -> str:
    r"""A text without what is wrapped around it, closing marks and words that announce it.

    >>> bare("The answer is **5**."), bare(r"$\boxed{12}$"), bare("5!"), bare('"Paris."')
    ('5', '12', '5!', 'Paris')
    """
    for _ in range(_ROUNDS):
        before = text
        text = text.strip().rstrip(";,:?").rstrip()
        while text.endswith((".", "!")) and not (
            text.endswith("!")
            and text[-2:-1].isalnum()
            and any(map(str.isdigit, text))
        ):
            text = text[:-1].rstrip()
        if text[:1] in "\\$*_`\"'<\u201c\u201e\u00ab\u300c":
            for form in _WRAPPED:
                if (match := form.fullmatch(text)) and _balanced(match[1]):
                    text = match[1]
                    break
        elif announced := _ANNOUNCES.match(text):
            text = text[announced.end() :]
        if text == before:
            break
    return text


def _balanced(text: str) -> bool:
    """Whether no brace closes that did not open: `a} + {b` is no inside."""
    depth = 0
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return (
        "$" not in text
        or text.count("$") % 2 == 0
        or text.startswith("$")
        or "\\$" in text
    )


def plain(text: str) -> str:
    r"""The expression behind LaTeX, mixed and scientific numbers.

    >>> plain(r"3\frac12")
    '(3+((1)/(2)))'
    >>> plain(r"1.0 \times 10^{2}")
    '1.0 * 10^(2)'
    >>> plain("1e3")
    '(1*10^(3))'
    >>> plain(r"10{,}000")
    '10,000'
    >>> plain(r"\sqrt{16} + \sqrt{2}")
    '(4) + sqrt(2)'
    """
    text = _GROUP_COMMA.sub(",", text.translate(_SIGNS))
    if "\\" in text or "~" in text:
        text = _CIRCLE.sub("\u00b0", text)
        text = _WORD_OF_TEX.sub(
            lambda match: f" {_SAYS[match[0]]} " if match[0] != r"\%" else "%",
            _LEAVE_OUT.sub(" ", text),
        )
    for _ in range(_ROUNDS):
        before = text
        text = _WORDS_AROUND.sub(
            r" \1 ", _FRACTION.sub(_as_division, _POWER.sub(r"^(\1)", text))
        )
        text = _ROOT.sub(
            lambda match: (
                f"sqrt({next(g for g in match.groups() if g is not None).strip()})"
            ),
            text,
        )
        if text == before:
            break
    text = _SQUARE.sub(_root_of_square, text)
    text = _MIXED.sub(r"\1(\2+\3/\4)", _MIXED_LATEX.sub(r"\1(\2+\3)", text))
    text = _TIMES_TEN.sub("*", text)
    text = _SCIENTIFIC.sub(
        lambda match: (
            f"({match[1]}*10^({int(match[2])}))"
            if abs(int(match[2])) < 60
            else match[0]
        ),
        text,
    )
    return " ".join(text.split())


def _as_division(match: re.Match[str]) -> str:
    top = match[1] if match[1] is not None else match[2]
    bottom = match[3] if match[3] is not None else match[4]
    return f"(({top})/({bottom}))"


def _root_of_square(match: re.Match[str]) -> str:
    root = isqrt(int(match[1]))
    return f"({root})" if root * root == int(match[1]) else match[0]


def matrix(text: str) -> list[list[str]] | None:
    """The cells of a matrix of LaTeX, row by row; None for anything else."""
    block = _MATRIX.fullmatch(text.strip())
    if block is None:
        return None
    rows = block[2].strip().removesuffix("\\\\").split("\\\\")
    return [_cells(row) for row in rows]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("&")]


def option(text: str) -> str | None:
    """The letter of a text that is nothing but one (`(B)`, `Option b.`), None for anything else.

    >>> option("(B)"), option("Option b."), option("Bus")
    ('b', 'b', None)
    """
    match = _OPTION.fullmatch(text.strip(" .!*")) if len(text) < 40 else None
    return match[1].casefold() if match else None


def day(text: str) -> str | None:
    """One text for all spellings of a calendar day, None for anything else.

    >>> day("5th of March 2024")
    'date 2024-03-05'
    >>> day("2024-03-05")
    'date 2024-03-05'
    >>> day("March 5")
    'date 03-05'
    >>> day("31/12/2024")
    'date 2024-12-31'
    >>> day("3/5/2024")
    'date 3/5/2024'
    """
    if not any(map(str.isdigit, text)) or len(text) > _LONGEST_DAY:
        return None
    if slashes := _SLASHES.fullmatch(text):
        first, second, year = map(int, slashes.groups())
        if first > 12 or second > 12 or first == second:
            return _day(year, min(first, second), max(first, second))
        # Which of the two is the month is not known: it is the same day as its own spelling alone.
        return f"date {first}/{second}/{year}"
    for pattern in _DATES:
        if match := pattern.fullmatch(text):
            parts = {
                name[0]: value
                for name, value in match.groupdict().items()
                if value is not None
            }
            month = (
                int(parts["m"])
                if "m" in parts
                else [m[:3] for m in _MONTHS].index(parts["n"][:3].casefold())
                + 1
            )
            return _day(
                int(parts["y"]) if "y" in parts else None,
                month,
                int(parts["d"]),
            )
    return None


def _day(year: int | None, month: int, day_: int) -> str | None:
    try:
        given = _LEAP_YEAR if year is None else year
        iso = date(given, month, day_).isoformat()
    except ValueError:
        return None
    return f"date {iso if year is not None else iso[5:]}"


def clock(text: str) -> tuple[str, str] | None:
    """A time of day as hours from midnight, and as the hands show it; equal texts where nobody says
    which half of the day.

    >>> clock("3:30 PM"), clock("15:30"), clock("3:30"), clock("330")
    (('time 15:30', 'hands 3:30'), ('time 15:30', 'time 15:30'), ('hands 3:30', 'time 03:30'), None)
    """
    text = _HOURS.get(text.casefold(), text)
    match = _CLOCK.fullmatch(text) if text[:1].isdigit() else None
    if match is None or not ((match[2] and ":" in text) or match[4]):
        return None
    hour = int(match[1])
    minute = match[2] or "00"
    seconds = f":{match[3]}" if match[3] else ""
    half = (match[4] or "").casefold()
    if hour > (12 if half else 23) or int(minute) > 59:
        return None
    if half:
        return (
            f"time {hour % 12 + (12 if half == 'p' else 0):02}:{minute}{seconds}",
            f"hands {hour}:{minute}{seconds}",
        )
    whole = f"time {hour:02}:{minute}{seconds}"
    if hour > 12 or match[1][0] == "0":
        return (whole, whole)
    return (f"hands {hour}:{minute}{seconds}", whole)
