"""Whether two answers have the same value."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from synth.answers.reading import Value, number_value, read
from synth.answers.units import Unit

# Relative difference of two decimals that rounding may explain.
TOLERANCE = 1e-6
# What a computation in 64-bit floats may be off by, as a share and at most.
_FLOAT_SHARE = Fraction(1, 10**14)
_FLOAT_MOST = Fraction(1, 10**7)


def same(
    answer: Value, gold: Value, tolerance: float = TOLERANCE
) -> bool | None:
    """Whether two values agree: True or False where that is known.

    None where one is a number and the other none, where two texts differ, where two units do not
    convert, and where it depends on what a lone mark before three digits means.

    >>> same(read("5 km"), read("5000 m"))
    True
    >>> same(read("5 km"), read("5 kg"))
    >>> same(read("1.234"), read("1234"))
    >>> same(read("3"), read("4"))
    False
    """
    sure = _agree(answer, gold, tolerance)
    if sure:
        return True
    if any(_agree(other, gold, tolerance) for other in answer.also) or any(
        _agree(answer, other, tolerance) for other in gold.also
    ):
        return True
    if sure is False and (
        answer.perhaps is not None or gold.perhaps is not None
    ):
        others = ((answer.perhaps, gold.number), (answer.number, gold.perhaps))
        if any(left is not None and left == right for left, right in others):
            return None
    return sure


def _agree(answer: Value, gold: Value, tolerance: float) -> bool | None:
    left = answer.number
    right = gold.number
    if left is None or right is None:
        return True if answer.key == gold.key and left is right else None
    if (
        answer.unit is not None
        and gold.unit is not None
        and answer.unit != gold.unit
    ):
        if answer.unit.dimension != gold.unit.dimension:
            return None
        left = left * answer.unit.size
        right = right * gold.unit.size
    elif _other_things(answer, gold):
        return None
    return close(left, right, tolerance)


def _other_things(answer: Value, gold: Value) -> bool:
    """Whether both say what they count, and say different things."""
    if answer.unit is not None or gold.unit is not None:
        return bool(answer.nouns or gold.nouns) and answer.unit != gold.unit
    return (
        bool(answer.nouns)
        and bool(gold.nouns)
        and not answer.nouns & gold.nouns
    )


def close(
    answer: Fraction, gold: Fraction, tolerance: float = TOLERANCE
) -> bool:
    """Whether two numbers are equal: whole ones exactly, decimals within a tolerance.

    A tolerance up to the default one never bridges more than the rounding of the shorter of the
    two.

    >>> close(Fraction("12345803"), Fraction("12345802"))
    False
    >>> close(Fraction("0.3333333"), Fraction(1, 3))
    True
    >>> close(Fraction("1234567.8"), Fraction("1234567.9"))
    False
    >>> close(Fraction("0.1") + Fraction("0.2"), Fraction(0.30000000000000004))
    True
    """
    if answer == gold:
        return True
    if answer.denominator == 1 == gold.denominator:
        return False
    difference = abs(answer - gold)
    slack = Fraction(tolerance) * abs(gold)
    if difference > slack:
        return False
    if tolerance > TOLERANCE:
        return True
    noise = min(_FLOAT_SHARE * abs(gold), _FLOAT_MOST)
    return difference <= max(noise, _rounding(answer, gold))


def _rounding(*numbers: Fraction) -> Fraction:
    """Half a unit of the last place of the shorter decimal; whole numbers and endless decimals are
    exact.
    """
    places = [
        digits for number in numbers if (digits := _places(number)) is not None
    ]
    return Fraction(1, 2 * 10 ** min(places)) if places else Fraction(0)


def _places(number: Fraction) -> int | None:
    """Decimals of a number, None where it is whole or they do not end."""
    rest = number.denominator
    twos = 0
    fives = 0
    if rest == 1 or rest.bit_length() > 2000:
        return None
    while not rest % 2:
        rest = rest // 2
        twos = twos + 1
    while not rest % 5:
        rest = rest // 5
        fives = fives + 1
    return max(twos, fives) if rest == 1 else None


def number(text: str) -> Fraction | None:
    r"""The exact value of an answer, None where it has none; percents are shares.

    >>> number("1,200 dollars")
    Fraction(1200, 1)
    >>> number("(16 - 3) * 2")
    Fraction(26, 1)
    >>> number(r"\frac{1}{2}")
    Fraction(1, 2)
    >>> number("about blue")
    """
    return read(text).number


def canonical(answer: str) -> str:
    """One text for all spellings of an answer: its value where it has one, else folded words.

    >>> canonical("$26.00") == canonical("26")
    True
    >>> canonical(" The Hague. ") == canonical("the hague")
    True
    >>> canonical("{2, 1}")
    'set =1; =2'
    """
    return read(answer).key


def same_answer(answer: str, gold: str, tolerance: float = TOLERANCE) -> bool:
    """Whether two answers surely agree: by value where both have one, else as folded text.

    >>> same_answer("train station", "Train station.")
    True
    >>> same_answer("26", "26 eggs")
    True
    >>> same_answer("bus", "26")
    False
    >>> same_answer("5 km", "5 m")
    False
    """
    return (
        answer == gold
        or same(read(str(answer)), read(str(gold)), tolerance) is True
    )


def votes(answers: Sequence[str | None]) -> list[str | None]:
    """One text a draw, the same for draws that say the same; None for a draw without an answer.

    A number without a unit votes for the one unit that the others have.

    >>> votes(["5", "5 km", "5000 m", None]), votes(["5", "5 km"])
    (['=5', '=5000 length', '=5000 length', None], ['=5000 length', '=5000 length'])
    """
    values = [None if answer is None else read(answer) for answer in answers]
    units = {
        value.unit
        for value in values
        if value is not None and value.unit is not None
    }
    only = next(iter(units)) if len(units) == 1 else None
    return [None if value is None else _vote(value, only) for value in values]


def _vote(value: Value, only: Unit | None) -> str:
    if value.number is None or value.unit is not None or only is None:
        return value.key
    return number_value(value.number, only).key
