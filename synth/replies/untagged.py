"""What a whole reply says without the tags that it was asked for, where any reader sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from synth.core.patterns import lazy_pattern
from synth.replies.fences import blocks_in
from synth.replies.labels import label_in

_TAG_NAME = lazy_pattern(r"<\s?/?\s?([\w-]{1,40})\s?/?>")
_ANY_TAG = lazy_pattern(r"</?[A-Za-z][\w-]{0,30}>")
_MOST_LINE = 100
_FEW = 2  # words; a sentence, a refusal or a beginning has more
_BEFORE_NAME = r"^[\s*_#>-]{0,8}(?:final\s)?"
_BEHIND_NAME = r"[*_ ]{0,4}(?:[:=][*_ ]{0,4}|\r?$)"
_AROUND = " \t.!:\"'*_`"


class LastLabel(NamedTuple):
    """Where the last line of a text begins, and the label that is all of it; "" where none is."""

    start: int
    label: str


NO_LABEL = LastLabel(0, "")


def last_label(text: str, start: int, labels: Sequence[str]) -> LastLabel:
    r"""The label that the last line of a reply is.

    Args:
        text: of the whole reply.
        start: where what is looked at begins.
        labels: that are looked for; tags around one play no part, and a tag alone is its name.

    >>> last_label("They agree.\n**Yes**", 0, ["yes", "no"])
    LastLabel(start=12, label='yes')
    """
    whole = text.rstrip()
    end = len(whole)
    line_break = whole.rfind("\n", start)
    begin = max(start, line_break + 1)
    line = _ANY_TAG.sub(" ", text[begin:end])
    line = line.strip() or _tag_alone(text[begin:end])
    if len(line) > _MOST_LINE:
        return NO_LABEL
    before = text[:begin]
    label = label_in(line, labels)
    if before.strip():
        label = _exact(line, labels)
    if not label:
        return NO_LABEL
    return LastLabel(begin, label)


def _tag_alone(line: str) -> str:
    """The name of the one tag that a line is, opened, closed or both; "" where it is more.

    >>> _tag_alone("<tie>"), _tag_alone("<a></a>"), _tag_alone("<a><b>")
    ('tie', 'a', '')
    """
    names = set(_TAG_NAME.findall(line))
    return names.pop() if len(names) == 1 else ""


def _exact(line: str, labels: Sequence[str]) -> str:
    """The label that a line is, signs around it aside; "" where it is more."""
    bare = line.strip(_AROUND)
    bare = bare.casefold()
    folded = [label.casefold() for label in labels]
    if bare in folded:
        return bare
    return ""


def named_line(name: str, text: str) -> str:
    r"""The rest of the last line that begins with a name and a colon; "" where none does.

    >>> named_line("verdict", "It adds up.\n**Verdict:** yes")
    '** yes'
    """
    spelled = re.escape(name).replace("_", r"[_ ]")
    pattern = rf"{_BEFORE_NAME}{spelled}[*_ ]{{0,4}}[:=]([^\n]+)$"
    lines = re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)
    return lines[-1].strip() if lines else ""


def announced(name: str, text: str) -> str:
    r"""What the last sentence of a reply says that a name is; "" where it says no such thing, or
    more than a few words.

    >>> announced("answer", "Half of 12 is 6.\nSo the final answer is **6**.")
    '6'
    """
    spelled = re.escape(name).replace("_", r"[_ ]")
    last_line = text.rstrip().rpartition("\n")[2]
    match = re.search(
        rf"\bthe (?:final |correct |short )?{spelled} is\b:?(?P<value>[^\n]+)$",
        last_line[-_MOST_LINE:],
        re.IGNORECASE,
    )
    if not match:
        return ""
    value = match["value"].strip(_AROUND)
    # A further sentence, or half a tag: who knows which part is meant.
    if re.search(r"[.!?:;]\s|<", value):
        return ""
    return value


def few_words(text: str) -> str:
    """The whole of a reply that is nothing but a short answer; "" for any other.

    >>> few_words("**1889**"), few_words("I cannot answer that.")
    ('1889', '')
    """
    value = text.strip(_AROUND + "\n")
    if len(value) > _MOST_LINE or len(value.split()) > _FEW:
        return ""
    if re.search(r"[<>\n]", value):
        return ""
    return value


def under_names(names: Sequence[str], text: str) -> dict[str, str]:
    r"""The text behind each name at the beginning of a line; empty unless all names stand there
    once, in order, the first of them at the beginning of the reply.

    >>> under_names(["critique", "verdict"], "Critique: It adds up.\nVerdict: yes")
    {'critique': 'It adds up.', 'verdict': 'yes'}
    """
    escaped = map(re.escape, names)
    either = "|".join(escaped)
    either = either.replace("_", "[_ ]")
    pattern = f"{_BEFORE_NAME}({either}){_BEHIND_NAME}"
    lines = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    # Before the first name, then by turns a name and what stands behind it.
    lead, *parts = lines.split(text)
    if lead.strip():
        return {}
    heads = [head.casefold() for head in parts[::2]]
    order = [head.replace(" ", "_") for head in heads]
    if order != [name.casefold() for name in names]:
        return {}
    texts = [part.strip() for part in parts[1::2]]
    if not all(texts):
        return {}
    return dict(zip(names, texts, strict=True))


def one_fence(text: str) -> str:
    """What stands in the one fence of a reply; "" where there is none, or more than one."""
    blocks = blocks_in(text)
    if len(blocks) != 1:
        return ""
    return blocks[0].code.strip()
