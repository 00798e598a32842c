"""Fields between tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser, between
from synth.records import Row


@dataclass(frozen=True, kw_only=True)
class Tagged(Parser):
    """Reads `<name>...</name>` for every name asked for; the last pair of each counts.

    Args:
        tags: the names, in any order; each becomes a field.
        allow: for a tag, the texts that it may hold (compared without case); anything else is unreadable.

    Reasons:
        missing_tag: a tag is absent or not closed.
        not_allowed: a tag holds a text that `allow` does not list.

    Example:
        >>> Tagged(tags=("verdict",), allow={"verdict": ["yes", "no"]}).parse("fine <verdict> Yes </verdict>", {})
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

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """Fields of one reply."""
        return {tag: self._one(tag, text) for tag in self.tags}

    @cached_property
    def _marks(self) -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
        return {tag: tag_marks(tag) for tag in self.tags}

    def _one(self, tag: str, text: str) -> str:
        found = between(*self._marks[tag], text)
        if not found:
            raise Unreadable("missing_tag", f"<{tag}> in {text[-80:]!r}")
        value = text[slice(*found[-1])].strip()
        allowed = (self.allow or {}).get(tag)
        if allowed is None:
            return value
        folded = value.casefold().strip(" .!\"'*")
        if folded not in [str(a).casefold() for a in allowed]:
            raise Unreadable("not_allowed", f"{tag} = {value[:80]!r}")
        return folded


def tag_marks(tag: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What opens and what closes a tag, in any case."""
    name = re.escape(tag)
    return re.compile(f"<{name}>", re.IGNORECASE), re.compile(f"</{name}>", re.IGNORECASE)
