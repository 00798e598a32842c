"""Every error that this product raises on purpose, as one tree.

PotstillError                exit code
├── WrongUse                 2   wrong use, pack or input, found before any call
│   └── RowFault                 what a part cannot do with one row: in a run that row leaves
├── BudgetReached            4   the next call could cross the budget
├── NothingKept              6   not one of the first seeds brought a row
├── Stopped                  5   the provider or the machine ended the run (key, quota, model, disk)
├── TeacherError
│   ├── TeacherBusy              temporary: asked again
│   └── TeacherRefused           final for this request: the row fails with its class
└── Unreadable                   a reply that no parser reads: the row is dropped with its reason
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


# Control signs that move a cursor, set a title or hide text (C0, DEL, C1), and signs that turn or
# hide what follows. Besides the ranges: soft hyphen, Arabic and Mongolian marks, Hangul fillers,
# line and paragraph separators, annotations, and tags, which spell whole texts that nobody sees.
_CONTROLS = {*range(0x20), *range(0x7F, 0xA0), 0xAD} - {0x09, 0x0A}
_MARKS = {
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    0x061C,
    0x180E,
    0x034F,
}
_FILLERS = {
    0x115F,
    0x1160,
    0x3164,
    0xFFA0,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
}
_ACTING = _CONTROLS | _MARKS | _FILLERS


def _spelt(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_VISIBLE = {code: _spelt(code) for code in _ACTING}


# Characters of each part of a message: a stranger's text may be quoted in it.
_MOST_QUOTED = 4000


def printable(text: str) -> str:
    r"""A text as it may reach a terminal: what would act on the terminal, or hide, is spelt out.

    >>> printable("red \x1b[31m"), printable("a\u202eb")
    ('red \\x1b[31m', 'a\\u202eb')
    """
    return text.translate(_VISIBLE).encode("utf-8", "replace").decode()


# What opens a link, an image, HTML, a cell or code in Markdown, and what makes a line more than a
# paragraph.
_MARKDOWN = {ord(sign): "\\" + sign for sign in "\\`[]|"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
_LINE_STARTS = ("#", "-", "+", "=", "*", "~", ":")


def markdown(text: str) -> str:
    r"""A text as one line of Markdown that says just this: no markup of its own, nothing that acts
    or hides.

    >>> markdown("# see [this](http://x) <b>")
    '\\# see \\[this\\](http://x) &lt;b&gt;'
    """
    line = " ".join(printable(text).split()).translate(_MARKDOWN)
    return "\\" + line if line.startswith(_LINE_STARTS) else line


class PotstillError(Exception):
    """Root of the tree; `exit_code` is what the commands return for it."""

    exit_code = 1


class WrongUse(PotstillError, ValueError):
    """A mistake in the call, the pack or the input; says where, what was found, what was wanted,
    what to do.
    """

    exit_code = 2

    def __init__(self, where: str, got: str, wanted: str, todo: str) -> None:
        super().__init__(where, got, wanted, todo)

    def __str__(self) -> str:
        where, got, wanted, todo = (
            str(part)[:_MOST_QUOTED] for part in self.args
        )
        return printable(f"{where}: found {got}; wanted {wanted}. {todo}")


class RowFault(WrongUse):
    """What a part cannot do with one row (a text that does not render, a gold query that fails): in
    a run that row leaves.
    """


class BudgetReached(PotstillError):
    """Raised before the call whose worst case could cross the budget; everything so far is kept."""

    exit_code = 4


class NothingKept(PotstillError):
    """Not one of the first seeds brought a row, for one reason that a setting explains; the same
    command resumes.
    """

    exit_code = 6


class Unfinished(PotstillError):
    """A part of a longer piece of work stopped before its end; the same command goes on."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Stopped(PotstillError):
    """Every further request would meet the same end (refused key, empty quota, full disk);
    resumable.
    """

    exit_code = 5

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind}: {self.args[1]}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that no memory is left: Python's, or torch's of a GPU or of this
    machine, whose class is that of any error.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    if isinstance(error, MemoryError):
        return True
    of_gpu = type(error).__name__ == "OutOfMemoryError"
    return of_gpu or (
        isinstance(error, RuntimeError)
        and "can't allocate memory" in str(error)
    )


def fault_of(error: BaseException) -> str:
    """What an error of foreign code is, and the last line of code that it came through.

    >>> try:
    ...     {}["nofield"]
    ... except KeyError as error:
    ...     fault_of(error).rpartition(":")[0]
    "KeyError: 'nofield', at <doctest synth.core.errors.fault_of[0]>"
    """
    kind = f"{type(error).__name__}: {error}"
    trace = error.__traceback__
    if trace is None:
        return kind
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    file = Path(code.co_filename).name
    return f"{kind}, at {file}:{trace.tb_lineno}"


class TeacherError(PotstillError):
    """A call that brought no reply; `kind` is its failure class."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind}: {self.args[1]}"


class TeacherBusy(TeacherError):
    """Temporary. `retry_after` in seconds where the provider said so; `limited` marks a rate limit
    (429).

    `at_once` marks a call that met a connection which was closed already: asking again needs no
    pause.
    """

    def __init__(
        self,
        kind: str,
        message: str = "",
        *,
        retry_after: float | None = None,
        limited: bool = False,
        at_once: bool = False,
    ) -> None:
        super().__init__(kind, message)
        self.retry_after = retry_after
        self.limited = limited
        self.at_once = at_once


class TeacherRefused(TeacherError):
    """Final for this request (bad request, policy, context length): asking again would bring the
    same.
    """


class Unreadable(PotstillError):
    """A reply that the parser cannot read; `reason` is a short code, `detail` quotes what was
    found.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint for a misspelt name, with the full list behind it.

    >>> did_you_mean("answer_macth", ["answer_match", "length"])
    'Did you mean answer_match? Known: answer_match, length.'
    """
    options = sorted(names)
    close = get_close_matches(name, options, n=1)
    start = f"Did you mean {close[0]}? " if close else ""
    return f"{start}Known: {', '.join(options) or 'none'}."


def require_share(name: str, value: float, *, below: bool = False) -> None:
    """Refuses what is not 0 to 1 (0 to below 1).

    Raises:
        ValueError: with name and value.
    """
    if not (0 <= value < 1 if below else 0 <= value <= 1):
        raise ValueError(f"{name}={value}; use 0 to {'below ' * below}1")


def require_count(name: str, value: int, least: int, most: int) -> None:
    """Refuses a count outside a range.

    Raises:
        ValueError: with name and value.
    """
    if not least <= value <= most:
        raise ValueError(f"{name}={value}; use {least} to {most:,}")
