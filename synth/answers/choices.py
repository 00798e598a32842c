"""The choices of a question, in the shapes that people have, and which of them a text names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any, NamedTuple

from synth.answers.equal import canonical
from synth.answers.spelling import bare, option
from synth.core.patterns import lazy_pattern

_LETTER = lazy_pattern(
    r"\s*\**\s*(?:(?:option|choice|answer)\s+)?(?:[(\[{]([a-z])[)\]}]|([a-z])(?=[).:,*]"
    r"|$))\**[).:,]?\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)


class Choices(NamedTuple):
    """Texts in order, and the label of each; labels are letters where the row gives none."""

    texts: list[str]
    labels: list[str]


def choices_of(value: Any) -> Choices | None:
    """Choices as a list of texts, ARC's {text: [...], label: [...]}, a list of {label, text}, or
    letter -> text; None for none.

    >>> choices_of(["park", "sea"])
    Choices(texts=['park', 'sea'], labels=['a', 'b'])
    >>> choices_of({"text": ["park", "sea"], "label": ["1", "2"]}).labels
    ['1', '2']
    """
    if not value:
        return None
    if isinstance(value, Mapping):
        texts = value.get("text")
        labels = value.get("label")
        if (
            isinstance(texts, Sequence)
            and isinstance(labels, Sequence)
            and len(texts) == len(labels)
            and not isinstance(texts, str)
        ):
            return Choices(
                [str(text) for text in texts], [str(label) for label in labels]
            )
        return Choices(
            [str(text) for text in value.values()],
            [str(label) for label in value],
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(
            isinstance(part, Mapping) and {"label", "text"} <= part.keys()
            for part in value
        ):
            return Choices(
                [str(part["text"]) for part in value],
                [str(part["label"]) for part in value],
            )
        return Choices(
            [str(text) for text in value],
            [ascii_lowercase[index % 26] for index in range(len(value))],
        )
    return None


def has_labels(value: Any) -> bool:
    """Whether choices come as {text: [...], label: [...]}."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("text"), list)
        and isinstance(value.get("label"), list)
    )


def _spelled(words: str, choices: Sequence[str]) -> int | None:
    """Position of the choice that words spell to the letter: what most replies do, and far quicker
    than reading what they mean.
    """
    folded = words.strip(" .").casefold()
    if folded:
        return next(
            (
                index
                for index, choice in enumerate(choices)
                if choice.casefold() == folded
            ),
            None,
        )
    return None


def pick(text: str, choices: Sequence[str]) -> int | None:
    r"""Position of the choice that a text names, or None; where its letter and its words disagree,
    the words decide if they are a choice.

    >>> pick(" (b) hot dog.", ["cat", "hot dog"])
    1
    >>> pick(" the cat.", ["cat", "hot dog"])
    0
    >>> pick(r"$\text{B}$", ["cat", "dog"])
    1
    """
    line = text.strip().split("\n", 1)[0]
    if any(sign in line for sign in "\\$*`"):
        line = bare(line)
    letter = _LETTER.match(line)
    lettered = (
        ascii_lowercase.index((letter[1] or letter[2]).lower())
        if letter
        else None
    )
    words = letter[3] if letter else line
    index = _spelled(words, choices)
    if index is not None and lettered in (None, index):
        return index
    names = [canonical(choice) for choice in choices]
    chosen_name = canonical(words)
    if chosen_name in names:
        twins = [
            index for index, name in enumerate(names) if name == chosen_name
        ]
        return lettered if lettered in twins else twins[0]
    whole = canonical(line)
    if whole in names:
        return names.index(whole)
    if lettered is None and (alone := option(line)):
        lettered = ascii_lowercase.index(alone)
    if lettered is not None and lettered < len(choices):
        return lettered
    return None
