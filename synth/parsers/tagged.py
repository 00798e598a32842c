"""Fields between tags."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from typing import Any, ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Row
from synth.parsers.base import Parser, Reply
from synth.replies.labels import label_in
from synth.replies.thoughts import NAMED_IN_PROSE

# A tag that a stop sequence cut: "5</answ".
_CUT_TAG = re.compile(r"(?:<|&lt;)/\w{0,30}$")
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_FENCED = re.compile(r"(`{3,})[^\n`]{0,40}\n(.*)\n[^\S\n]*\1", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Tagged(Parser):
    """Reads `<name>...</name>` for every name asked for; of each the last, innermost one that is
    not empty counts.

    | spelling | read |
    |---|---|
    | `<answer>5</answer>`, `<Answer type="int"> 5 </ANSWER>` | 5 |
    | `&lt;answer&gt;5&lt;/answer&gt;` | 5 |
    | `I use <answer> tags. <answer>5</answer> <answer></answer>` | 5 |
    | tags in a fence, a fence in tags | what is in both |
    | at the end of a whole reply: `<answer>5`, `<answer>5</ans` | 5, marked as mended |
    | at the end of a whole reply: `<answer>5<answer>` | 5, marked as mended |
    | with `allow`: `<verdict>**Yes**, because ...</verdict>` | yes |
    | with `allow`: `<better>Passage K</better>`, `<grade>4/5</grade>` | k, 4 |
    | with `allow`, no tag: a line `Verdict: yes, because ...` | yes, marked as mended |

    Args:
        tags: the names, in any order; each becomes a field.
        allow: for a tag, the texts that it may hold (compared without case); anything else is
            unreadable.

    Reasons:
        missing_tag: a tag is absent, empty, or open in a reply that was cut off.
        not_allowed: a tag holds a text that `allow` does not list, or two of them.

    Example:
        >>> Tagged(tags=("verdict",), allow={"verdict": ["yes", "no"]}).parse(
        ...     "fine <verdict> Yes </verdict>", {}
        ... )
        {'verdict': 'yes'}
    """

    tags: tuple[str, ...] = ("rationale", "answer")
    allow: Mapping[str, Any] | None = None

    reasons: ClassVar[dict[str, str]] = {
        "missing_tag": "a tag is absent or open",
        "not_allowed": "a text outside the list",
    }

    def produces(self) -> dict[str, str]:
        """One text field a tag."""
        return dict.fromkeys(self.tags, "text")

    @cached_property
    def own_tags(self) -> Collection[str]:
        """The tags asked for."""
        return [tag.casefold() for tag in self.tags]

    def read(self, text: str, row: Row) -> dict[str, Any]:
        return self.read_reply(Reply(text), row)

    def read_reply(self, reply: Reply, row: Row) -> dict[str, Any]:  # noqa: ARG002
        plain = self._plainly(reply.said)
        if plain is not None:
            return {
                tag: self._label(tag, value) for tag, value in plain.items()
            }
        marks = list(self._mark.finditer(reply.said))
        return {
            tag: self._label(tag, self._one(tag, marks, reply))
            for tag in self.tags
        }

    def _plainly(self, text: str) -> dict[str, str] | None:
        """The text of each tag, where one `<tag>` and one `</tag>` of each are the only marks.

        None for any other reply. It says what `_one` says, sooner.
        """
        if (
            "&" in text
            or not self._pairs
            or text.count("<") != 2 * len(self._pairs)
        ):
            return None
        texts = {}
        for tag, opens, shuts in self._pairs:
            start = text.find(opens)
            end = text.find(shuts, start)
            if start < 0 or end < 0:
                return None
            value = text[start + len(opens) : end].strip()
            if not value or value.startswith("```"):
                return None
            texts[tag] = value
        return texts

    @cached_property
    def _pairs(self) -> list[tuple[str, str, str]]:
        """Each tag with the marks around it; none where a name is not plain or asked for twice."""
        plain = all(map(_PLAIN_NAME.fullmatch, self.tags)) and len(
            {*self.tags}
        ) == len(self.tags)
        if plain:
            return [(tag, f"<{tag}>", f"</{tag}>") for tag in self.tags]
        return []

    @cached_property
    def _mark(self) -> re.Pattern[str]:
        """What opens (no group `shut`) or closes one of the tags."""
        names = "|".join(
            re.escape(tag) for tag in sorted(self.tags, key=len, reverse=True)
        )
        return re.compile(
            rf"(?:<|&lt;)\s?(?P<shut>/?)\s?(?P<tag>{names})(?:\s[^<>\n]{{0,200}})?(?:>|&gt;)",
            re.IGNORECASE,
        )

    def _one(self, tag: str, marks: list[re.Match[str]], reply: Reply) -> str:
        own = [
            mark for mark in marks if mark["tag"].casefold() == tag.casefold()
        ]
        value = _closed(own, reply.said)
        if (
            not value
            and reply.whole
            and (value := _open_at_end(tag, marks, reply.said))
        ):
            reply.mended.append(f"<{tag}> was left open")
        if not value and reply.whole and self._allowed[tag]:
            value = _announced(tag, reply.said)
            if value:
                reply.mended.append(f"no <{tag}>, but a line of that name")
        if not value:
            raise Unreadable("missing_tag", f"<{tag}> in {reply.said[-80:]!r}")
        return value

    def _label(self, tag: str, value: str) -> str:
        """The label that the text of a tag gives, or the text where any may stand there."""
        allowed = self._allowed[tag]
        if not allowed:
            return value
        label = label_in(value, allowed)
        if label is None:
            raise Unreadable("not_allowed", f"{tag} = {value[:80]!r}")
        return label

    @cached_property
    def _allowed(self) -> dict[str, tuple[str, ...]]:
        listed = self.allow or {}
        return {
            tag: tuple(map(str, listed.get(tag) or ())) for tag in self.tags
        }


def _closed(marks: list[re.Match[str]], text: str) -> str:
    """The last text between a tag and the nearest closing one behind it; "" where none is more than
    white space.
    """
    value = ""
    opened: re.Match[str] | None = None
    for mark in marks:
        if mark["shut"] and opened:
            value = _content(opened, text[opened.end() : mark.start()]) or value
        opened = None if mark["shut"] else mark
    return value


def _open_at_end(tag: str, marks: list[re.Match[str]], text: str) -> str:
    """What stands behind the last tag that nothing closes, up to the next tag that was asked
    for.
    """
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end in zip(reversed(marks), reversed(ends), strict=False):
        if (
            mark["shut"]
            or mark["tag"].casefold() != tag.casefold()
            or NAMED_IN_PROSE.match(text, mark.end())
        ):
            continue
        if value := _content(
            mark, _CUT_TAG.sub("", text[mark.end() : end].rstrip())
        ):
            return value
    return ""


def _content(opened: re.Match[str], inside: str) -> str:
    inside = (
        unescape(inside).strip()
        if opened[0].startswith("&")
        else inside.strip()
    )
    fenced = _FENCED.fullmatch(inside) if inside.startswith("```") else None
    return fenced[2].strip() if fenced else inside


def _announced(tag: str, text: str) -> str:
    """The rest of the last line that begins with a tag's name and a colon."""
    name = re.escape(tag).replace("_", r"[_ ]")
    lines = re.findall(
        rf"^[\s*_#>-]{{0,8}}(?:final\s)?{name}[*_ ]{{0,4}}[:=]([^\n]+)$",
        text,
        re.IGNORECASE | re.MULTILINE,
    )
    return lines[-1].strip() if lines else ""
