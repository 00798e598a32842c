r"""What a model thought, apart from what it said.

| spelling | whose |
|---|---|
| `<think>...</think>`, `<thinking>`, `<thought>`, `<reasoning>` | most |
| `<reflection>`, `<scratchpad>`, `<seed:think>` | most |
| the same in other case, with attributes, or as `&lt;think&gt;` | gateways |
| `... </think> said`, without the opening that the prompt's template wrote | DeepSeek, Qwen |
| `[THINK]...[/THINK]`, U+25C1 `think` U+25B7 | Magistral, Kimi |
| `<\|begin_of_thought\|>...<\|end_of_thought\|>` | Sky-T1, OpenThinker |
| the answer between `<\|begin_of_solution\|>` and `<\|end_of_solution\|>` | Sky-T1, OpenThinker |
| `<\|START_THINKING\|>...<\|END_THINKING\|>` | Command A |
| the answer between `<\|START_RESPONSE\|>` and `<\|END_RESPONSE\|>` | Command A |
| `<\|channel\|>analysis<\|message\|>...<\|end\|>...<\|channel\|>final<\|message\|>said` | gpt-oss |
| `analysis...assistantfinalsaid`, the same without its special tokens | gpt-oss |

A mark between backticks or quotes is a word of the text, and so is an opening that prose names
("the <think> tag").
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from synth.core.patterns import lazy_pattern

_NAMES = (
    r"(?:[a-z]\w{0,19}:)?(?:think(?:ing)?|thoughts?|reasoning|reflections?|scratchpad"
    r"|inner_?thoughts?|internal_?monologue)"
)
# The sign that a mark begins with stands first, so that `re` leaps from one such sign to the next:
# prose takes a third of the time that it takes to try every way at every letter.
_MARK = lazy_pattern(
    "[<&\\[\u25c1](?:"
    rf"(?:(?<=<)|(?<=&)lt;)\s{{0,3}}(?P<shut>/?)\s{{0,3}}(?P<name>{_NAMES})"
    r"(?:\s[^<>\n]{0,200})?(?P<shut_itself>/?)(?:>|&gt;)"
    r"|(?<=\[)(?P<shut_bracket>/?)(?:THINK(?:ING)?|THOUGHT|REASONING)\]"
    r"|(?<=<)\|(?:begin_of_|(?P<end_of>end_of_))(?:thought|thinking|reasoning)\|>"
    r"|(?<=<)\|(?:START_|(?P<end_caps>END_))(?:THINKING|REASONING)\|>"
    r"|(?<=<)\|(?P<shut_bar>/?)think(?:ing)?\|>"
    "|(?<=\u25c1)(?P<shut_kimi>/?)think\u25b7)",
    re.IGNORECASE,
)
# Each mark holds one of these words.
_MARK_WORDS = (
    "think",
    "thought",
    "reasoning",
    "reflection",
    "scratchpad",
    "monologue",
)
_CLOSES = (
    "shut",
    "shut_itself",
    "shut_bracket",
    "end_of",
    "end_caps",
    "shut_bar",
    "shut_kimi",
)
_SOLUTION = lazy_pattern(
    r"<\|(?:(?:begin|end)_of_solution|(?:START|END)_RESPONSE)\|>", re.IGNORECASE
)
_CHANNEL = lazy_pattern(
    r"<\|channel\|>\s{0,3}(\w{1,20})[^<]{0,80}<\|message\|>"
)
_CHANNEL_ENDS = lazy_pattern(r"<\|(?:end|return|call|start|channel)\|>")
_NO_TOKENS = ("analysis", "assistantfinal")
# Prose about a mark: "the <answer> tag".
NAMED_IN_PROSE = lazy_pattern(
    r"[`'\"]|[^\S\n]{0,3}(?:and\b|or\b|(?:tags?|marks?|elements?|blocks?|tokens?)\b)",
    re.IGNORECASE,
)
_QUOTES = "`'\""


class Split(NamedTuple):
    """What was thought and what was said; `is_open` where the last thought has no end."""

    thoughts: str
    answer: str
    is_open: bool = False


def split_thoughts(text: str, own: Collection[str] = ()) -> Split:
    r"""What a model thought, and what it said around that; `own` names tags that are no thoughts
    here.

    >>> (
    ...     split_thoughts("<think>4, or 5?</think>It is 5."),
    ...     split_thoughts("Hm.</think>\n5").answer,
    ... )
    (Split(thoughts='4, or 5?', answer='It is 5.', is_open=False), '5')
    """
    if "<|channel|>" in text and (channels := list(_CHANNEL.finditer(text))):
        return _of_channels(text, channels)
    if text.startswith(_NO_TOKENS[0]) and _NO_TOKENS[1] in text:
        thought, _, answer = text.removeprefix(_NO_TOKENS[0]).rpartition(
            _NO_TOKENS[1]
        )
        return Split(thought.strip(), answer.strip())
    if (
        "<" not in text
        and "[" not in text
        and "&lt;" not in text
        and "\u25c1" not in text
    ):
        return Split("", text)
    marks = []
    if _may_hold_marks(text):
        marks = [
            mark for mark in _MARK.finditer(text) if _is_mark(text, mark, own)
        ]
    split = _between_marks(text, marks) if marks else Split("", text)
    if "<|" in split.answer:
        return split._replace(answer=_SOLUTION.sub("", split.answer).strip())
    return split


def _may_hold_marks(text: str) -> bool:
    """Whether `_MARK` need look for marks, which takes longer than to look for their words.

    Some letters outside ASCII are equal to ASCII letters for a pattern, and not for `lower`.
    """
    return not text.isascii() or any(
        map(text.lower().__contains__, _MARK_WORDS)
    )


def _is_mark(text: str, mark: re.Match[str], own: Collection[str]) -> bool:
    start, end = mark.span()
    if (
        start > 0
        and end < len(text)
        and text[start - 1] in _QUOTES
        and text[end] in _QUOTES
    ):
        return False
    return (mark["name"] or "").casefold() not in own


def _between_marks(text: str, marks: list[re.Match[str]]) -> Split:
    """Thoughts lie between marks; nested ones are one, and a closing mark alone ends a thought that
    began with the reply.
    """
    thoughts: list[str] = []
    outside: list[str] = []
    # `at` is where the present part begins, be it thought or said; `closing` the last mark that
    # closes within an open thought.
    depth = 0
    at = 0
    closing: re.Match[str] | None = None
    for mark in marks:
        closes = any(mark[name] for name in _CLOSES)
        if not closes and depth == 0:
            outside.append(text[at : mark.start()])
            at = mark.end()
            closing = None
        elif closes and depth <= 1:
            if depth == 0:  # nothing before a lone closing mark was said
                thoughts += outside
                outside = []
            thoughts.append(text[at : mark.start()])
            at = mark.end()
        elif closes:
            closing = mark
        depth = max(0, depth + (-1 if closes else 1))
    if (
        depth and closing
    ):  # a thought named its own mark: it ends at the last closing one
        thoughts.append(text[at : closing.start()])
        at = closing.end()
        depth = 0
    elif depth == 1 and NAMED_IN_PROSE.match(text, marks[-1].end()):
        outside[-1] += marks[-1][0] + text[at:]
        at = len(text)
        depth = 0
    (thoughts if depth else outside).append(text[at:])
    return Split(
        "\n".join(filter(None, map(str.strip, thoughts))),
        _joined(outside),
        depth > 0,
    )


def _joined(parts: list[str]) -> str:
    """The parts around thoughts, each on lines of its own."""
    return "\n".join(filter(None, map(str.strip, parts)))


def _of_channels(text: str, channels: list[re.Match[str]]) -> Split:
    """Only the channel `final` speaks to the user."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    for channel in channels:
        end = _CHANNEL_ENDS.search(text, channel.end())
        parts[channel[1] == "final"].append(
            text[channel.end() : end.start() if end else len(text)].strip()
        )
    return Split("\n".join(parts[False]), "\n".join(parts[True]))
