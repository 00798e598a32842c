"""What people call a column: where a name is missing, another one that means the same is
proposed.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Names that stand for one thing in published datasets, the usual ones first.
_SYNONYMS = (
    (
        "question",
        "prompt",
        "instruction",
        "input",
        "query",
        "problem",
        "text",
        "task",
        "user",
        "human",
        "premise",
        "sentence",
    ),
    (
        "target",
        "answer",
        "label",
        "gold",
        "output",
        "completion",
        "response",
        "solution",
        "expected",
        "ground_truth",
        "reference",
        "final_answer",
        "correct_answer",
        "gold_answer",
        "answer_key",
        "answerKey",
        "answers",
    ),
    (
        "rationale",
        "explanation",
        "reasoning",
        "chain_of_thought",
        "cot",
        "solution",
        "thought",
        "rationales",
    ),
    (
        "passage",
        "document",
        "context",
        "text",
        "paragraph",
        "article",
        "content",
        "body",
        "abstract",
    ),
    ("choices", "options", "candidates", "endings", "answers"),
    ("chosen", "accepted", "preferred", "better", "positive"),
    ("rejected", "dispreferred", "worse", "negative"),
    ("query", "question", "anchor", "search"),
    ("concept", "head", "subject", "term", "word", "entity"),
)


def column_hint(name: str, columns: Iterable[str]) -> str:
    """What to do where an input is missing: the `--column` that would give it; "" where no name is
    near.

    >>> column_hint("question", ["id", "prompt"]), column_hint("question", ["a"])
    ('Did you mean --column question=prompt?', '')
    """
    listed = [str(column) for column in columns]
    folded = {
        column.lower().replace(" ", "_"): column for column in reversed(listed)
    }
    groups = [names for names in _SYNONYMS if name in names]
    candidates = [
        folded[other.lower()]
        for names in groups
        for other in names
        if other != name and other.lower() in folded
    ]
    if name.lower() in folded and folded[name.lower()] != name:
        candidates.insert(0, folded[name.lower()])
    candidates += get_close_matches(name, listed, n=1)
    return (
        f"Did you mean --column {name}={candidates[0]}?" if candidates else ""
    )
