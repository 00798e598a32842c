"""Golds as rows have them: bare, `#### 5`, boxed, a letter, an index, a text of the choices, a list
of accepted ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from string import ascii_lowercase
from typing import Any, Literal, NamedTuple

from synth.answers.choices import Choices, choices_of, pick
from synth.answers.equal import TOLERANCE, canonical, same
from synth.answers.numerals import DecimalMark
from synth.answers.reading import read
from synth.answers.spelling import bare, boxed, option
from synth.core.patterns import lazy_pattern

# What a gold of a question with choices is: whatever fits, or said by the user.
GoldKind = Literal["any", "text", "letter", "index", "index_from_1"]
_ANNOUNCED = lazy_pattern(
    r"(?:^|\n|[.;]\s)[^\n]{0,40}\banswer\s*(?:is|:)\s*:?\s*([^\n]+)\s*\Z",
    re.IGNORECASE,
)
_MOST_SHOWN = 100
# Under which names a mapping holds accepted answers: TriviaQA's, SQuAD's.
_NAMES = (
    "value",
    "aliases",
    "normalized_value",
    "normalized_aliases",
    "text",
    "answer",
    "answers",
)


class Gold(NamedTuple):
    """A gold that was read.

    Attributes:
        form: bare, ####, boxed, announced, letter, index, label, choice, or list of ...; missing,
            unreadable or ambiguous.
        texts: the accepted answers; for a question with choices the texts of the right ones.
    """

    form: str
    texts: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether there is something to compare with."""
        return bool(self.texts)


MISSING = Gold("missing")
UNREADABLE = Gold("unreadable")
AMBIGUOUS = Gold("ambiguous")


def read_gold(gold: Any, choices: Any = None, kind: GoldKind = "any") -> Gold:
    r"""What a gold says.

    Args:
        gold: text, number, truth value, a list of accepted ones, or a mapping that holds such.
        choices: of the question, in any shape that `choices_of` reads.
        kind: how a gold names its choice, where it could be more than one thing.

    >>> read_gold("2 + 3 = <<2+3=5>>5.\n#### 5")
    Gold(form='####', texts=('5',))
    >>> read_gold(1, ["park", "sea"])
    Gold(form='index', texts=('sea',))
    >>> read_gold(1, ["1", "2"])
    Gold(form='ambiguous', texts=())
    """
    if (
        type(gold) is str
        and not choices
        and len(gold) < 40
        and "#" not in gold
        and "\\" not in gold
        and not gold.isspace()
        and gold
    ):
        return Gold("bare", (gold,))
    if (
        gold is None
        or gold == ""
        or (isinstance(gold, str) and not gold.strip())
    ):
        return MISSING
    if isinstance(gold, Mapping):
        named = [gold[name] for name in _NAMES if gold.get(name)]
        if named or not gold:
            return _several(named, choices, kind)
        return UNREADABLE
    if isinstance(gold, Sequence) and not isinstance(gold, str | bytes):
        return _several(gold, choices, kind)
    listed_choices = choices_of(choices)
    if listed_choices is not None:
        return _choice(gold, listed_choices, kind)
    return _single(gold)


def _several(golds: Sequence[Any], choices: Any, kind: GoldKind) -> Gold:
    alternatives = [read_gold(gold, choices, kind) for gold in golds]
    comparable = [gold for gold in alternatives if gold.comparable]
    if not comparable:
        return next(
            (gold for gold in alternatives if gold.form != "missing"), MISSING
        )
    form = comparable[0].form
    if len(golds) > 1:
        form = f"list of {form.removeprefix('list of ')}"
    texts = tuple(
        dict.fromkeys(text for gold in comparable for text in gold.texts)
    )
    return Gold(form, texts)


def _single(gold: Any) -> Gold:
    """A gold without choices."""
    if isinstance(gold, bool):
        return Gold("bare", ("true", "yes") if gold else ("false", "no"))
    if isinstance(gold, int | float | Decimal):
        return Gold("bare", (str(gold),)) if math.isfinite(gold) else UNREADABLE
    if not isinstance(gold, str):
        if hasattr(gold, "isoformat"):
            return Gold("bare", (str(gold),))
        return UNREADABLE
    form, text = unwrapped(gold)
    return Gold(form, (text,)) if text else UNREADABLE


def unwrapped(gold: str) -> tuple[str, str]:
    r"""The form of a gold's text and the answer in it, "" where its form holds none.

    >>> unwrapped(r"Half is $\boxed{\frac{1}{2}}$.")
    ('boxed', '\\frac{1}{2}')
    >>> unwrapped("It is 4.\n####")
    ('####', '')
    >>> unwrapped("So the answer is 5.")
    ('announced', '5')
    """
    if "####" in gold:
        return "####", gold.rpartition("####")[2].strip().split("\n", 1)[
            0
        ].strip()
    if "\\boxed" in gold or "\\fbox" in gold:
        return "boxed", boxed(gold) or ""
    if match := _ANNOUNCED.search(gold):
        return "announced", bare(match[1])
    return "bare", gold.strip()


def _choice(gold: Any, choices: Choices, kind: GoldKind) -> Gold:
    """A gold that names one of the choices."""
    texts, labels = choices
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    number = (
        gold if isinstance(gold, int) and not isinstance(gold, bool) else None
    )
    text = _spelled(gold)
    if not text:
        return UNREADABLE
    digits = number
    if number is None and text.strip().isdecimal() and len(text.strip()) < 4:
        digits = int(text)
    if (
        text.strip() in labels
        and kind in ("any", "letter")
        and labels != list(ascii_lowercase[: len(labels)])
    ):
        return Gold("label", (texts[labels.index(text.strip())],))
    positions: dict[str, int | None] = {
        "text": _named(text, texts),
        "letter": _lettered(text, texts),
        "index": _indexed(digits, 0, texts),
    }
    if kind == "index_from_1":
        positions = {"index": _indexed(digits, 1, texts)}
    elif kind != "any":
        positions = {kind: positions.get(kind)}
    readings = {
        form: index for form, index in positions.items() if index is not None
    }
    if number is None and "text" in readings:
        readings.pop("index", None)
    if len({canonical(texts[index]) for index in readings.values()}) > 1:
        return AMBIGUOUS
    if readings:
        form, position = next(iter(readings.items()))
        return Gold({"text": "choice"}.get(form, form), (texts[position],))
    index = pick(text, texts) if kind == "any" and number is None else None
    return Gold("choice", (texts[index],)) if index is not None else UNREADABLE


def _spelled(gold: Any) -> str:
    """A gold as text; empty where it is neither text nor a whole number nor true or false."""
    if isinstance(gold, str):
        return unwrapped(gold)[1]
    return str(gold) if isinstance(gold, int) else ""


def _named(text: str, texts: Sequence[str]) -> int | None:
    """The choice with this text."""
    name = canonical(text)
    return next(
        (
            index
            for index, choice in enumerate(texts)
            if choice == text or canonical(choice) == name
        ),
        None,
    )


def _lettered(text: str, texts: Sequence[str]) -> int | None:
    letter = option(bare(text)) or (
        text.strip().casefold()
        if len(text.strip()) == 1 and text.strip().isalpha()
        else None
    )
    index = ascii_lowercase.find(letter) if letter else -1
    return index if 0 <= index < len(texts) else None


def _indexed(
    number: int | None, first: int, texts: Sequence[str]
) -> int | None:
    if number is not None and 0 <= number - first < len(texts):
        return number - first
    return None


def agrees(
    answer: Any,
    gold: Gold,
    choices: Any = None,
    tolerance: float = TOLERANCE,
    decimal: DecimalMark = "",
) -> bool | None:
    """Whether an answer is one of a gold's; None where the gold says nothing that can be compared.

    Args:
        answer: as a parser read it.
        gold: as `read_gold` read it, with the same choices.
        choices: of the question: an answer may name one by its letter.
        tolerance: relative difference of decimals that counts as equal.
        decimal: the mark before decimals, where the language of the answers is known.

    >>> agrees("(b)", read_gold(1, ["park", "sea"]), ["park", "sea"])
    True
    >>> agrees("5.0", read_gold("#### 5"))
    True
    >>> agrees("5", read_gold(None))
    """
    if not gold.comparable:
        return None
    answer_text = str(answer)
    if not choices and len(gold.texts) == 1 and answer_text == gold.texts[0]:
        return True
    listed_choices = choices_of(choices)
    if (
        listed_choices is not None
        and (index := pick(answer_text, listed_choices.texts)) is not None
    ):
        answer_text = listed_choices.texts[index]
    value = read(answer_text, decimal)
    return any(
        answer_text == text
        or same(value, read(text, decimal), tolerance) is True
        for text in gold.texts
    )


def shown(answer: Any) -> str:
    """An answer or a gold as a mark shows it: its last 100 signs, where the answer of a long one
    stands.
    """
    text = str(answer)
    return text if len(text) <= _MOST_SHOWN else f"...{text[-_MOST_SHOWN:]}"


def has_number(gold: Gold) -> bool:
    """Whether any accepted answer has a value, as a parser of numbers brings one."""
    values = [read(text) for text in gold.texts]
    every = [value for own in values for value in (own, *own.also)]
    return any(value.number is not None for value in every)
