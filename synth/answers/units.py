"""What stands behind a number: scales (million, k), units (km, hours), currencies, or a plain
noun.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from synth.core.patterns import lazy_pattern


class Unit(NamedTuple):
    """A unit of measure: what it measures, and how many of that dimension's base unit one of it
    is.
    """

    dimension: str
    size: Fraction


class Behind(NamedTuple):
    """What a text behind a number says: a factor of the number, a unit, and the nouns that are
    none.
    """

    scale: int
    unit: Unit | None
    nouns: frozenset[str]


# dimension -> size in the base unit -> names; names of three letters and more take a plural s.
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "1": "m meter metre",
        "1/1000": "mm millimeter millimetre",
        "1/100": "cm centimeter centimetre",
        "1/10": "dm decimeter decimetre",
        "1000": "km kilometer kilometre kms",
        "1/1000000": "\u03bcm um micron micrometer micrometre",
        "1/1000000000": "nm nanometer nanometre",
        "0.0254": "in inch inches",
        "0.3048": "ft foot feet",
        "0.9144": "yd yard yds",
        "1609.344": "mi mile",
        "1852": "nautical-mile nmi",
        "201.168": "furlong",
        "1.8288": "fathom",
        "9460730472580800": "light-year ly",
    },
    "mass": {
        "1": "kg kilogram kilogramme kilo kgs",
        "1/1000": "g gram gramme",
        "1/1000000": "mg milligram",
        "1000": "t tonne metric-ton",
        "0.45359237": "lb lbs pound",
        "0.028349523125": "oz ounce",
        "907.18474": "ton",
        "6.35029318": "stone",
    },
    "time": {
        "1": "s sec second secs",
        "1/1000": "ms millisecond",
        "60": "min minute mins",
        "3600": "h hr hour hrs",
        "86400": "day d",
        "604800": "week wk wks",
        "1/1000000": "\u03bcs microsecond",
        "1/1000000000": "ns nanosecond",
        "1209600": "fortnight",
    },
    # A month has no fixed number of days: months and years convert into each other alone.
    "calendar": {
        "1": "month",
        "12": "year yr yrs",
        "3": "calendar-quarter",
        "120": "decade",
        "1200": "century centuries",
    },
    "volume": {
        "1": "l liter litre",
        "1/1000": "ml milliliter millilitre cc",
        "1/100": "cl centiliter centilitre",
        "3.785411784": "gal gallon",
        "0.946352946": "qt quart",
        "0.473176473": "pt pint",
        "0.2365882365": "cup",
        "0.01478676478125": "tbsp tablespoon",
        "0.00492892159375": "tsp teaspoon",
        "0.0295735295625": "fl-oz fluid-ounce",
    },
    "area": {"10000": "ha hectare", "4046.8564224": "acre"},
    "angle": {
        "1": "\u00b0 degree deg degs",
        "1/60": "arcminute",
        "1/3600": "arcsecond",
    },
    "radians": {"1": "rad radian"},
    "celsius": {
        "1": "\u00b0c degree-celsius degrees-celsius celsius degc degree-centigrade "
        "degrees-centigrade"
    },
    "fahrenheit": {
        "1": "\u00b0f degree-fahrenheit degrees-fahrenheit fahrenheit degf"
    },
    "kelvin": {"1": "K kelvin"},
    "data": {
        "1": "bit",
        "8": "B byte",
        "8000": "kB KB kilobyte",
        "8000000": "MB megabyte",
        "8000000000": "GB gigabyte",
        "8000000000000": "TB terabyte",
        "1000": "kbit kilobit",
        "1000000": "Mbit Mb megabit",
        "1000000000": "Gbit Gb gigabit",
        "8192": "KiB kibibyte",
        "8388608": "MiB mebibyte",
        "8589934592": "GiB gibibyte",
    },
    "energy": {
        "1": "J joule",
        "1000": "kJ kilojoule",
        "1000000": "MJ megajoule",
        "4.184": "cal calorie",
        "4184": "kcal kilocalorie",
        "3600": "Wh watt-hour",
        "3600000": "kWh kilowatt-hour",
        # Behind MJ: letters of another case are those of the unit that comes first.
        "1/1000": "mJ millijoule",
    },
    "power": {
        "1": "W watt",
        "1000": "kW kilowatt",
        "1000000": "MW megawatt",
        "1/1000": "mW milliwatt",
    },
    "voltage": {
        "1": "V volt",
        "1000": "kV kilovolt",
        "1/1000": "mV millivolt",
        "1000000": "MV megavolt",
    },
    "current": {"1": "amp ampere", "1/1000": "mA milliamp"},
    "resistance": {"1": "\u03a9 ohm", "1000": "k\u03a9 kiloohm"},
    "force": {"1": "N newton", "1000": "kN kilonewton"},
    "pressure": {
        "1": "Pa pascal",
        "1000": "kPa kilopascal",
        "101325": "atm atmosphere",
        "100000": "bar",
    },
    "frequency": {
        "1": "Hz hertz",
        "1000": "kHz kilohertz",
        "1000000": "MHz megahertz",
        "1000000000": "GHz gigahertz",
        "1/1000": "mHz millihertz",
    },
    "amount": {"1": "mol mole"},
    "usd": {"1": "$ us$ usd dollar us-dollar buck", "1/100": "\u00a2 cent"},
    "eur": {"1": "\u20ac eur euro"},
    "gbp": {
        "1": "\u00a3 gbp pound-sterling pounds-sterling quid",
        "1/100": "pence penny",
    },
    "yen": {"1": "\u00a5 jpy yen \u5186"},
    "cny": {"1": "cny rmb yuan \u5143"},
    "inr": {"1": "\u20b9 inr rupee rs"},
    "krw": {"1": "\u20a9 krw won \uc6d0"},
    "chf": {"1": "chf franc"},
    "cad": {"1": "cad c$ ca$"},
    "aud": {"1": "aud a$ au$"},
    "rub": {"1": "\u20bd rub ruble rouble"},
    "btc": {"1": "\u20bf btc bitcoin"},
}
CURRENCIES = frozenset(
    {
        "usd",
        "eur",
        "gbp",
        "yen",
        "cny",
        "inr",
        "krw",
        "chf",
        "cad",
        "aud",
        "rub",
        "btc",
    }
)
SIGNS = "$\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd\u20bf"
_EXACT: dict[str, Unit] = {}
_LOOSE: dict[str, Unit] = {}
for _dimension, _sizes in _TABLE.items():
    for _size, _names in _sizes.items():
        for _name in _names.split():
            _unit = Unit(_dimension, Fraction(_size))
            _EXACT.setdefault(_name, _unit)
            _LOOSE.setdefault(_name.casefold(), _unit)
            if len(_name) > 2:
                _LOOSE.setdefault(f"{_name.casefold()}s", _unit)
# Abbreviations that are also words of English: they are units only where nothing follows them.
ALSO_WORDS = {
    "in",
    "d",
    "t",
    "rs",
    "won",
    "stone",
    "bar",
    "cup",
    "cups",
    "s",
    "h",
    "mi",
    "yard",
    "pt",
    "min",
}
_LONG = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "dozen": 12,
    "lakh": 10**5,
    "lac": 10**5,
    "crore": 10**7,
    "mio": 10**6,
    "mn": 10**6,
    "mln": 10**6,
    "bn": 10**9,
    "bln": 10**9,
    "mrd": 10**9,
    "tn": 10**12,
    "tausend": 10**3,
    "millionen": 10**6,
    "milliarde": 10**9,
    "milliarden": 10**9,
    "milliard": 10**9,
    "mille": 10**3,
    "mil": 10**3,
    "millones": 10**6,
    "mill\u00f3n": 10**6,
    "milh\u00f5es": 10**6,
    "milh\u00e3o": 10**6,
    "bilh\u00f5es": 10**9,
    "milioni": 10**6,
    "miliardi": 10**9,
}
# Letters that scale where they stand glued to the digits: 5k, 1.2M, 3B.
_GLUED = {
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "B": 10**9,
    "T": 10**12,
    "mm": 10**6,
    "MM": 10**6,
    "bn": 10**9,
    "L": 10**5,
    "Cr": 10**7,
    "cr": 10**7,
}
_GLUED_MONEY = {**_GLUED, "m": 10**6, "b": 10**9, "t": 10**12}
_WORD = lazy_pattern(r"[^\s,]+")
# Words behind a number that say nothing about what is counted.
_GLOSS_WORDS = (
    "a an the of in on at to for by per each and or more less left remaining total altogether "
    "only people persons person items item "
    "pieces piece things units unit times time others is are was were will there"
)
_GLOSS = frozenset(_GLOSS_WORDS.split())
_MOST_NOUNS = 4
_NOUN = lazy_pattern(r"[^\W\d_]+(?:[-'][^\W\d_]+)*[.,]?")
_FUNCTIONS = frozenset(
    ("sqrt", "sin", "cos", "tan", "log", "exp", "inf", "mod", "\u03c0")
)


def scale_of(word: str, *, glued: bool, money: bool) -> int:
    """What a word behind a number multiplies it by; 0 where it is no scale."""
    if glued and (factor := (_GLUED_MONEY if money else _GLUED).get(word, 0)):
        return factor if word != "mm" or money else 0
    low = word.casefold().rstrip(".")
    return (
        _LONG.get(low, 0)
        or _LONG.get(low.removesuffix("s"), 0)
        or (10**3 if word == "k" else 0)
    )


@lru_cache(maxsize=4096)
def behind(text: str, *, glued: bool, money: bool = False) -> Behind | None:
    """What a text behind a number says; None where it is no such text (too long, or with signs).

    >>> behind("million people", glued=False).scale
    1000000
    >>> behind("km/h", glued=False).unit.dimension
    'length/time'
    >>> behind("apples", glued=False).nouns
    frozenset({'apple'})
    """
    scale = 1
    text = text.strip()
    while first := _WORD.match(text):
        factor = scale_of(first[0], glued=glued and scale == 1, money=money)
        if not factor:
            break
        scale = scale * factor
        text = text[first.end() :].strip()
    unit, rest = leading_unit(text)
    rest = rest.strip(" ,.")
    if not rest:
        return Behind(scale, unit, frozenset())
    words = rest.split()
    if len(words) > _MOST_NOUNS or not all(map(_is_noun, words)):
        return None
    nouns = frozenset() if unit else frozenset(map(_singular, words)) - _GLOSS
    return Behind(scale, unit, nouns)


def _is_noun(word: str) -> bool:
    """Whether a word may stand behind a number without changing it: `eggs`, not the `x` of 2x nor
    the pi of 2 pi.
    """
    if not _NOUN.fullmatch(word):
        return False
    low = word.casefold().rstrip(".,")
    return low in _GLOSS or (
        low not in _FUNCTIONS and (len(low) >= 3 or not low[0].isascii())
    )


def _singular(word: str) -> str:
    word = word.casefold().strip(".,'")
    for ending, instead in (
        ("ies", "y"),
        ("sses", "ss"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("xes", "x"),
        ("s", ""),
    ):
        if (
            len(word) > len(ending) + 1
            and word.endswith(ending)
            and not word.endswith(("ss", "us"))
        ):
            return word[: -len(ending)] + instead
    return word


_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3}
_RATES = {
    "mph": "mi/h",
    "kmh": "km/h",
    "kph": "km/h",
    "fps": "ft/s",
    "rpm": "",
    "kmph": "km/h",
}
_ATOM = lazy_pattern(
    r"([^\W\d_]+\.?|\u00b0[CFcf]?|\u03bcm|\u03a9)(?:\^?\(?([23])\)?)?"
)


def leading_unit(text: str) -> tuple[Unit | None, str]:
    """The unit at the start of a text, the longest that can be read, and what follows it."""
    words = text.split()
    for count in range(min(len(words), 6), 0, -1):
        unit = _whole_unit(" ".join(words[:count]))
        rest = " ".join(words[count:])
        if unit is not None and not (
            rest and words[count - 1].casefold() in ALSO_WORDS and count == 1
        ):
            return unit, rest
    return None, text


@lru_cache(maxsize=4096)
def _whole_unit(text: str) -> Unit | None:
    """`km/h`, `square meters`, `miles per hour`, `m^2`: None where any part is no unit."""
    text = _RATES.get(text.casefold(), text)
    top, slash, bottom = re.sub(
        r"\s+(?:per|an?)\s+|\s*/\s*", "\0", text
    ).partition("\0")
    over = _power_of_unit(top.strip())
    if over is None or not slash:
        return over
    under = _power_of_unit(bottom.strip())
    if under is None:
        return None
    return Unit(f"{over.dimension}/{under.dimension}", over.size / under.size)


def _power_of_unit(text: str) -> Unit | None:
    words = text.split()
    power = _POWERS.get(words[0].casefold(), 1) if len(words) > 1 else 1
    name = "-".join(words[1:] if power > 1 else words)
    if power == 1 and (match := _ATOM.fullmatch(name)) and match[2]:
        name = match[1]
        power = int(match[2])
    unit = _named(name)
    if unit is None or (power > 1 and unit.dimension != "length"):
        return None
    return Unit(
        {1: unit.dimension, 2: "area", 3: "volume"}[power],
        unit.size**power * (1000 if power == 3 else 1),
    )


def _named(name: str) -> Unit | None:
    return _EXACT.get(name) or _LOOSE.get(name.casefold().rstrip("."))
