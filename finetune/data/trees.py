"""Dependency trees in rows: the head of each word, and what makes them a tree."""

from __future__ import annotations

from collections.abc import Sequence

from synth.core.errors import WrongUse

# The head of the word that has none among the words.
ROOT = 0


def check_tree(
    heads: Sequence[object], words: Sequence[str], where: str
) -> None:
    """Refuses heads that are no tree with one root.

    Args:
        heads: of each word the number of its head, from 1; 0 for the root.
        words: of the row.
        where: what named the heads.

    Raises:
        WrongUse: not one head a word, a head that is no word, no root or several, or words that
            hang on each other in a circle.
    """
    found = _flaw(heads, words)
    if found:
        raise WrongUse(
            where,
            found,
            f"a tree: a head of 0 to {len(words)} for each of {len(words)} words, one of them 0 "
            "(the root), and no circles",
            "Correct the row, or leave it out.",
        )


def _flaw(heads: Sequence[object], words: Sequence[str]) -> str:
    """What is wrong with heads; "" for nothing."""
    if len(heads) != len(words):
        return f"{len(heads)} heads of {len(words)} words"
    numbers: list[int] = []
    for head in heads:
        if isinstance(head, bool) or not isinstance(head, int):
            return f"a head {head!r}"[:80]
        numbers.append(head)
    for word, head in enumerate(numbers, 1):
        if not 0 <= head <= len(words):
            return f"head {head} of word {word} ({words[word - 1]!r})"
    roots = [word for word, head in enumerate(numbers, 1) if head == ROOT]
    if not roots:
        return "no root"
    if len(roots) > 1:
        return f"{len(roots)} roots (words {_listed(roots)})"
    circle = a_circle(numbers)
    if circle:
        return f"words {_listed(circle)} in a circle"
    return ""


def _listed(words: Sequence[int]) -> str:
    """The first numbers of words."""
    first = map(str, words[:8])
    return ", ".join(first)


def a_circle(heads: Sequence[int]) -> list[int]:
    """Words, from 1, that hang on each other in a circle, the smallest first; [] where none do.

    Args:
        heads: of each word, 0 to the number of words.

    Example:
        >>> a_circle([0, 3, 2]), a_circle([0, 1, 2])
        ([2, 3], [])
    """
    # Words from which the root is reached.
    sound = {ROOT}
    for start in range(1, len(heads) + 1):
        path: list[int] = []
        word = start
        while word not in sound and word not in path:
            path.append(word)
            word = heads[word - 1]
        if word not in sound:
            return sorted(path[path.index(word) :])
        sound.update(path)
    return []
