"""Fields between tags."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from typing import ClassVar

from synth.core.errors import Unreadable, did_you_mean
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser, Reply
from synth.replies.labels import label_in
from synth.replies.thoughts import NAMED_IN_PROSE
from synth.replies.untagged import (
    announced,
    few_words,
    last_label,
    named_line,
    one_fence,
    under_names,
)

# A tag that a stop sequence cut: "5</answ".
_CUT_TAG = lazy_pattern(r"(?:<|&lt;)/\w{0,30}$")
_PLAIN_NAME = lazy_pattern(r"[a-z][a-z0-9_-]*")
_FENCED = lazy_pattern(r"(`{3,})[^\n`]{0,40}\n(.*)\n[^\S\n]*\1", re.DOTALL)


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
    | with `allow`, no tag: a last line `Yes.`, `<answer>yes</answer>` | yes, marked as mended |
    | no tags, lines of their names in order: `Critique: fine`, `**Answer** 5` | fine, 5, marked |
    | one tag is asked for, none is there, and one fence is | what is in the fence, marked |
    | the same, and a last sentence `So the final answer is **6**.` of tag `answer` | 6, marked |
    | the same, and a reply of one or two words: `1889`, `Unknown.` | 1889, Unknown, marked |
    | the first tag alone is missing: `It adds up. <answer>5</answer>` | It adds up., marked |

    Only a reply that ended by itself is mended, and `mended` of its row's `meta` says how.

    Args:
        tags: the names, in the order in which they are asked for; each becomes a field.
        allow: for a tag, the texts that it may hold (compared without case), or the name of the
            field of the row that lists them; anything else is unreadable.

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
    allow: Row | None = None

    reasons: ClassVar[dict[str, str]] = {
        "missing_tag": "a tag is absent or open",
        "not_allowed": "a text outside the list",
    }

    def __post_init__(self) -> None:
        Parser.__post_init__(self)
        for tag in self.allow or {}:
            if tag not in self.tags:
                raise ValueError(
                    f"allow names {tag!r}, which is no tag; "
                    f"{did_you_mean(str(tag), self.tags)}"
                )
        for tag, listed in (self.allow or {}).items():
            # YAML reads yes, no, on and off as truth values.
            labels = listed or ()
            if isinstance(labels, str):
                continue
            for label in labels:
                if not isinstance(label, bool):
                    continue
                raise ValueError(
                    f"allow of {tag!r} lists {label}, which is no text; "
                    'put yes and no in quotes: ["yes", "no"]'
                )

    def produces(self) -> dict[str, str]:
        """One text field a tag."""
        return dict.fromkeys(self.tags, "text")

    @cached_property
    def own_tags(self) -> Collection[str]:
        """The tags asked for."""
        return [tag.casefold() for tag in self.tags]

    def read(self, text: str, row: Row) -> Fields:
        return self.read_reply(Reply(text), row)

    def read_reply(self, reply: Reply, row: Row) -> Fields:
        texts = self._plainly(reply.said)
        if texts is None:
            texts = self._between_marks(reply, row)
        return {
            tag: self._label(tag, text, self._labels(tag, row))
            for tag, text in texts.items()
        }

    def _between_marks(self, reply: Reply, row: Row) -> dict[str, str]:
        """The text of each tag, mended where a whole reply says plainly what is meant."""
        marks = list(self._mark.finditer(reply.said))
        texts = {tag: self._one(tag, marks, reply) for tag in self.tags}
        if reply.whole and not all(texts.values()):
            self._mend(texts, marks, reply, row)
        for tag, text in texts.items():
            if not text:
                raise Unreadable(
                    "missing_tag", f"<{tag}> in {reply.said[-80:]!r}"
                )
        return texts

    def _mend(
        self,
        texts: dict[str, str],
        marks: list[re.Match[str]],
        reply: Reply,
        row: Row,
    ) -> None:
        """Fills in texts that stand in the reply without their tags."""
        first = self.tags[0]
        last = self.tags[-1]
        labels = self._labels(last, row)
        if not marks:
            self._mend_bare(texts, reply, labels)
            if all(texts.values()):
                return
        body = reply.said
        if labels and not texts[last]:
            start = marks[-1].end() if marks else 0
            found = last_label(body, start, labels)
            texts[last] = found.label
            if found.label:
                reply.mended.append(f"no <{last}>, but a last line like one")
                body = body[: found.start]
        before = body[: marks[0].start()] if marks else body
        before = before.strip()
        lacking = [tag for tag, text in texts.items() if not text]
        if before and lacking == [first] and first != last:
            texts[first] = before
            reply.mended.append(f"no <{first}>, but a text before the others")

    def _mend_bare(
        self, texts: dict[str, str], reply: Reply, labels: tuple[str, ...]
    ) -> None:
        """Fills in the texts of a reply without any tag: under their names, or where one tag alone
        is asked for, what can only be its text.
        """
        named = under_names(self.tags, reply.said)
        texts.update(named)
        if named:
            reply.mended.append("no tags, but lines of their names")
        elif len(self.tags) == 1 and not labels:
            tag = self.tags[0]
            readings = {
                "one fence": one_fence(reply.said),
                "a sentence that says it": announced(tag, reply.said),
                "a reply of a few words": few_words(reply.said),
            }
            for spelling, text in readings.items():
                if text:
                    texts[tag] = text
                    reply.mended.append(f"no <{tag}>, but {spelling}")
                    break

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
        if not value and reply.whole and tag in self._allowed:
            value = named_line(tag, reply.said)
            if value:
                reply.mended.append(f"no <{tag}>, but a line of that name")
        return value

    def _label(self, tag: str, value: str, labels: tuple[str, ...]) -> str:
        """The label that the text of a tag gives, or the text where any may stand there."""
        if tag not in self._allowed:
            return value
        # Of a tag that was closed by half: <verdict>yes>.
        bare = value.strip("<>/ ")
        label = label_in(bare, labels) if labels else None
        if label is None:
            raise Unreadable("not_allowed", f"{tag} = {value[:80]!r}")
        if isinstance(self._allowed[tag], str):
            # The row's own spelling, as whatever reads the row compares with that.
            return next(own for own in labels if own.casefold() == label)
        return label

    def needs(self) -> tuple[str, ...]:
        """Fields of the row that list what a tag may hold."""
        return tuple(n for n in self._allowed.values() if isinstance(n, str))

    @cached_property
    def _allowed(self) -> dict[str, str | tuple[str, ...]]:
        """What a tag may hold, or the field of the row that says so."""
        return {
            tag: listed if isinstance(listed, str) else tuple(map(str, listed))
            for tag, listed in (self.allow or {}).items()
            if listed
        }

    def _labels(self, tag: str, row: Row) -> tuple[str, ...]:
        """What a tag may hold, as a row sees it; empty where any text may stand there."""
        listed = self._allowed.get(tag, ())
        if isinstance(listed, str):
            return tuple(map(str, row.get(listed) or ()))
        return listed


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
