"""The contract of a parser: text in, named fields out, or Unreadable with a reason code."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Literal

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.replies.thoughts import split_thoughts

# Where a completion-style teacher stops answering and invents the next question of its few-shot
# prompt. A pattern over a reply never tries a run of white space from each of its places, which
# takes the square of its length.
INVENTED = lazy_pattern(
    r"\n[^\S\n]*(?:Q|Question|Problem|Premise|###\s*(?:Question|Instruction|Problem))\s*:",
    re.IGNORECASE,
)

# A longer reply is not looked into: no model writes a quarter of a million tokens that train a
# small one.
MOST_CHARS = 1 << 20
# Beyond this a column of 64-bit numbers no longer holds every whole number.
MOST_WHOLE = 1 << 53
MOST_DEPTH = 64


@dataclass(slots=True)
class Reply:
    """One reply on its way through a parser.

    Args:
        said: the text without the thoughts; as the teacher sent it before `Parser.parse_reply` has
            split it.
        thoughts: what the provider sends apart as reasoning, or what was split off.
        whole: whether the reply ended by itself; one that was cut off is never completed.
        mended: what a parser had to change to read it, in words.
    """

    said: str
    thoughts: str = ""
    whole: bool = True
    mended: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Parser(ABC):
    """Base of all parsers. Thoughts (see `synth.replies.thoughts`) are split off before any of them
    reads a reply.

    Args:
        into: name of the main field, where the pack wants another one than the parser's own.
        rationale: of a parser that reads one, where a model thought and its reply says none: is it
            empty (`any`), is the reply unreadable (`said`), or do the thoughts serve (`thoughts`)?
            Without thoughts it is empty.
    """

    into: str | None = None
    rationale: Literal["any", "said", "thoughts"] = "any"

    main: ClassVar[str] = ""
    fields: ClassVar[Mapping[str, str]] = {}
    reads: ClassVar[tuple[str, ...]] = ()
    # Whether the parser reads what a model thought.
    thinks: ClassVar[bool] = False
    reasons: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        if self.rationale != "any" and "rationale" not in self.produces():
            raise ValueError(
                f"rationale: {self.rationale} of a parser that reads none"
            )

    def parse(self, text: str, row: Row) -> Fields:
        """Fields of the text of one whole reply, as `parse_reply` reads it."""
        return self.parse_reply(Reply(text), row)

    def parse_reply(self, reply: Reply, row: Row) -> Fields:
        """Fields of one reply, each of the kind that `produces` promises; `reply.mended` then says
        what was changed.

        Raises:
            Unreadable: with one of the class's reasons, or `empty_reply`, `too_long`, `wrong_kind`,
                `open_thoughts` (they never end), `only_thoughts` (nothing is said), `no_rationale`.
        """
        text = reply.said
        if not text or text.isspace():
            raise Unreadable("empty_reply")
        if len(text) > MOST_CHARS:
            raise Unreadable(
                "too_long", f"{len(text):,} characters; at most {MOST_CHARS:,}"
            )
        thoughts, reply.said, is_open = split_thoughts(text, self.own_tags)
        reply.thoughts = "" if is_open else thoughts or reply.thoughts
        if not self.thinks and (is_open or not reply.said):
            raise Unreadable(
                "open_thoughts" if is_open else "only_thoughts", text[-80:]
            )
        fields = self.read_reply(reply, row)
        if self.rationale != "any" and not fields["rationale"]:
            fields["rationale"] = self._thought(reply)
        if self.into is not None:
            fields = self.rename(fields)
        for name, kind, fits in self._promised:
            if name not in fields or not fits(fields[name]):
                raise Unreadable(
                    "wrong_kind",
                    misfit(kind, fields[name], name)
                    if name in fields
                    else f"no {name}",
                )
        return fields

    def _thought(self, reply: Reply) -> str:
        """The thoughts, in place of a rationale that the reply does not say."""
        if not reply.thoughts:
            return ""
        if self.rationale == "said":
            raise Unreadable("no_rationale", reply.said[-80:])
        reply.mended.append("the thoughts are the rationale")
        return reply.thoughts

    @property
    def own_tags(self) -> Collection[str]:
        """Names of tags, without case, that this parser reads itself and that hold no thoughts."""
        return ()

    def read_reply(self, reply: Reply, row: Row) -> Fields:
        """The fields, by a parser that looks at more than what was said, or that mends."""
        return self.read(reply.said, row)

    @abstractmethod
    def read(self, text: str, row: Row) -> Fields:
        """The fields under the parser's own names; `text` is what was said, and is not blank."""

    def needs(self) -> tuple[str, ...]:
        """Fields of the row that the parser looks at."""
        return self.reads

    def produces(self) -> Fields:
        """Names and kinds (text, number, bool, list, any; the kinds of its fields for a list of
        objects) of what every reading brings.
        """
        return self.rename(dict(self.fields))

    @cached_property
    def _promised(self) -> list[tuple[str, Any, Callable[[Any], bool]]]:
        return [
            (name, kind, checker(kind))
            for name, kind in self.produces().items()
        ]

    def rename(self, fields: Fields) -> Fields:
        """The main field under the pack's name for it."""
        if self.into is None or self.main not in fields:
            return fields
        return {
            (self.into if name == self.main else name): value
            for name, value in fields.items()
        }


def checker(kind: Any) -> Callable[[Any], bool]:
    """What tells whether a value is of a kind.

    `text` is what UTF-8 can hold, `number` finite and exact in 64 bits, `list` a list of texts,
    `any` what JSON can hold, the kinds of its fields a list of objects.
    """
    if isinstance(kind, str):
        return _CHECKS[kind]
    return lambda value: not misfit(kind, value, "")


def misfit(kind: Any, value: Any, name: str) -> str:
    r"""Where a value is not of its kind, and what stands there; "" where all is as promised.

    >>> misfit("list", ["a", 2], "items")
    'items[1] = 2'
    >>> misfit("number", 10**20, "score")
    'score = 100000000000000000000'
    >>> misfit("text", "fine", "name")
    ''
    """
    if isinstance(kind, str) and _CHECKS[kind](value):
        return ""
    inner = _ELEMENTS.get(kind) if isinstance(kind, str) else kind
    if inner is None or not isinstance(value, list):
        return f"{name} = {_short(value)}"
    return next(
        filter(
            None,
            (
                _within(inner, element, f"{name}[{number}]")
                for number, element in enumerate(value)
            ),
        ),
        "",
    )


def _within(kind: Any, value: Any, name: str) -> str:
    """The misfit of one element of a list: a plain value, or an object with fields of their own
    kinds.
    """
    if not isinstance(kind, Mapping):
        return misfit(kind, value, name)
    if not isinstance(value, Mapping):
        return f"{name} = {_short(value)}"
    missing = [f"no {name}.{key}" for key in kind if key not in value]
    return next(
        filter(
            None,
            (
                *missing,
                *(
                    misfit(k, value.get(key), f"{name}.{key}")
                    for key, k in kind.items()
                ),
            ),
        ),
        "",
    )


def is_text(value: Any) -> bool:
    """Whether a value is a text that UTF-8 can hold: one without half a surrogate pair."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and -MOST_WHOLE <= value <= MOST_WHOLE
    )


def _is_json(value: Any, depth: int) -> bool:
    """Whether other programs can read the JSON of a value; whole numbers may have any number of
    digits.
    """
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, list | dict):
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(
            _is_json(element, depth - 1) for element in inside
        )
    return True


def _are_texts(value: Any) -> bool:
    try:
        return isinstance(value, list) and is_text("".join(value))
    except TypeError:
        return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "text": is_text,
    "number": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "list": _are_texts,
    "numbers": lambda value: (
        isinstance(value, list) and all(map(_is_number, value))
    ),
    "any": lambda value: _is_json(value, MOST_DEPTH),
}
_ELEMENTS = {"list": "text", "numbers": "number"}
KINDS = tuple(_CHECKS)


def _short(value: Any) -> str:
    """The start of what was found, also of what has no short spelling."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value):,}"
    try:
        return f"{value!r}"[:80].encode("ascii", "backslashreplace").decode()
    except ValueError:  # a whole number of thousands of digits
        return f"{type(value).__name__} beyond all columns"


def between(
    begin: re.Pattern[str], end: re.Pattern[str], text: str
) -> list[tuple[int, int]]:
    """Where the texts between two marks stand, each up to the next end mark; in one pass, however
    many marks are left open.

    >>> between(re.compile("<a>"), re.compile("</a>"), "<a>one</a> <a>two</a> <a>")
    [(3, 6), (14, 17)]
    """
    spans = []
    at = 0
    while (opened := begin.search(text, at)) and (
        closed := end.search(text, opened.end())
    ):
        spans.append((opened.end(), closed.start()))
        at = closed.end()
    return spans


def cut_invented(text: str) -> str:
    r"""The reply without questions that the teacher invented after its answer.

    >>> cut_invented("3 + 4 = 7. The answer is 7.\n\nQ: Ann has 2 pens.\nA: The answer is 2.")
    '3 + 4 = 7. The answer is 7.'
    """
    match = INVENTED.search(text, len(text) - len(text.lstrip()))
    return text[: match.start()].rstrip() if match else text.rstrip()
