"""Whether a text keeps rules that a program can check."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.core import strict_json
from synth.core.errors import RowFault
from synth.text.words import folded, words
from synth.verifiers.base import Verifier

# Rules of one text, and characters of a text that is looked at.
MOST_RULES = 32
MOST_CHARS = 200_000
_BLANK = re.compile(r"\n[ \t]*\n")
# Kinds that count what a pattern finds.
_FOUND = {
    "bullets": re.compile(
        r"^[ \t]{0,8}(?:[-*\u2022]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE
    ),
    "capital_words": re.compile(r"\b[A-Z]{2,}\b"),
    "commas": re.compile("[,\uff0c]"),
    "lines": re.compile(r"^.*\S", re.MULTILINE),
    "placeholders": re.compile(r"\[[^\[\]\n]{1,100}\]"),
    "sentences": re.compile(r"[.!?\u3002\uff01\uff1f]+(?=\s|$)"),
}
# Kinds that hold where a pattern finds something.
_HELD = {
    "postscript": re.compile(r"^P\.? ?S\.?\b", re.MULTILINE | re.IGNORECASE),
    "title": re.compile(r"<<[^<>\n]{1,200}>>"),
}
_QUOTES = "\"'\u201c\u201d\u201e\u00ab\u00bb"
Rule = Mapping[str, Any]


def _count(kind: str, text: str, rule: Rule) -> int:
    """How much of what a rule counts stands in a text."""
    if kind in _FOUND:
        found = _FOUND[kind].finditer(text)
        return sum(1 for _ in found)
    if kind == "characters":
        return len(text.strip())
    if kind == "words":
        return len(words(text))
    if kind == "paragraphs":
        parts = _BLANK.split(text)
        return sum(1 for part in parts if part.strip())
    wanted = str(rule["text"])
    if kind == "letter":
        return folded(text).count(folded(wanted))
    return _keyword(text, wanted)


def _keyword(text: str, wanted: str) -> int:
    """How often a word or phrase stands in a text, at borders of words."""
    # Neighbours would share one blank between them.
    blank = "  "
    said = blank.join(words(text))
    phrase = blank.join(words(wanted))
    return f" {said} ".count(f" {phrase} ")


def _holds(kind: str, text: str, rule: Rule) -> bool:
    """Whether a text is what a rule says."""
    inner = text.strip()
    if kind in _HELD:
        return _HELD[kind].search(text) is not None
    if kind == "json":
        return _is_json(inner)
    if kind == "quoted":
        ends = {inner[:1], inner[-1:]}
        return len(inner) > 1 and ends <= {*_QUOTES}
    if kind in ("capitals", "small_letters"):
        letters = "".join(filter(str.isalpha, text))
        if kind == "capitals":
            return letters.isupper()
        return letters.islower()
    wanted = folded(str(rule["text"]))
    said = folded(inner)
    if kind == "starts":
        return said.startswith(wanted)
    return said.endswith(wanted)


def _is_json(text: str) -> bool:
    inner = text
    if inner.startswith("```"):
        inner = inner.strip("`").removeprefix("json")
    try:
        strict_json.loads(inner)
    except strict_json.NotStrict:
        return False
    return True


# Kinds that count something: a rule says `least`, `most` or both.
COUNTS = (
    *_FOUND,
    "characters",
    "keyword",
    "letter",
    "paragraphs",
    "words",
)
# Kinds that hold or do not.
HOLDS = (
    *_HELD,
    "capitals",
    "ends",
    "json",
    "quoted",
    "small_letters",
    "starts",
)
# Kinds that need a `text`.
_NAMED = frozenset({"keyword", "letter", "starts", "ends"})


@dataclass(frozen=True, kw_only=True)
class Constraints(Verifier):
    """Holds a text against rules of the kinds of IFEval (Zhou et al., arXiv:2311.07911).

    A rule is `{"kind": K}`. Kinds that count something (words, characters, sentences, paragraphs,
    lines, bullets, keyword, letter, placeholders, capital_words, commas) have `least`, `most` or
    both; `keyword`, `letter`, `starts` and `ends` have a `text`; capitals, small_letters, json,
    quoted, title (`<<...>>`) and postscript hold or do not. Other keys, such as how a rule is said,
    are passed over.

    Example:
        >>> rules = [{"kind": "words", "most": 4}, {"kind": "keyword", "text": "rain", "least": 2}]
        >>> Constraints().verify("Rain, rain, go away.", rules)
        True
        >>> Constraints().verify("Rain came, rain went away.", rules)
        False
    """

    def verify(self, text: str, rules: Any) -> bool:
        """Whether a text keeps a rule, or all rules of a list.

        Raises:
            RowFault: rules of another shape.
        """
        return not self.broken(text, rules)

    def broken(self, text: str, rules: Any) -> list[str]:
        """The kinds of the rules that a text breaks, in their order."""
        listed = _read(rules)
        said = str(text)[:MOST_CHARS]
        return [str(r["kind"]) for r in listed if not _keeps(said, r)]


def _read(rules: Any) -> list[Rule]:
    """Rules as they are, as JSON, or one alone."""
    if isinstance(rules, str):
        try:
            rules = json.loads(rules)
        except (ValueError, RecursionError):
            rules = None
    listed = [rules] if isinstance(rules, Mapping) else rules
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_RULES:
        raise _fault(rules, f"a rule, or a list of 1 to {MOST_RULES} rules")
    for rule in listed:
        _check(rule)
    return listed


def _check(rule: Any) -> None:
    """Raises RowFault where a rule is none."""
    if not isinstance(rule, Mapping):
        raise _fault(rule, "a mapping with `kind`")
    kind = rule.get("kind")
    if kind not in COUNTS and kind not in HOLDS:
        raise _fault(rule, f"one of {', '.join([*COUNTS, *HOLDS])}")
    if kind in _NAMED and not words(str(rule.get("text", ""))):
        raise _fault(rule, f"`text` of {kind}")
    bounds = [rule[name] for name in ("least", "most") if name in rule]
    sound = all(type(bound) is int and bound >= 0 for bound in bounds)
    if kind in COUNTS and not (bounds and sound):
        raise _fault(rule, f"`least`, `most` or both of {kind}, from 0 on")


def _fault(rule: Any, wanted: str) -> RowFault:
    return RowFault(
        "constraints",
        f"{rule!r}"[:200],
        wanted,
        "Correct the rule.",
    )


def _keeps(text: str, rule: Rule) -> bool:
    """Whether a text keeps one rule that is sound."""
    kind = str(rule["kind"])
    if kind in HOLDS:
        return _holds(kind, text, rule)
    found = _count(kind, text, rule)
    least = rule.get("least", 0)
    most = rule.get("most", found)
    return bool(least <= found <= most)
