"""Units convert as scipy's table of constants says, and letters of two cases are two units."""

from __future__ import annotations

from fractions import Fraction

import pytest

from synth.answers.equal import same, same_answer, votes
from synth.answers.reading import read
from synth.answers.units import behind, leading_unit, scale_of
from tests.tables import cells, table

# A unit, the name of its size in scipy.constants, and the base unit of its dimension there.
SIZES = """
inch|inch|m
inches|inch|m
ft|foot|m
feet|foot|m
yards|yard|m
miles|mile|m
nmi|nautical_mile|m
microns|micron|m
light-years|light_year|m
grams|gram|kg
lb|pound|kg
pounds|pound|kg
oz|ounce|kg
ounces|ounce|kg
stone|stone|kg
tons|short_ton|kg
tonnes|metric_ton|kg
minutes|minute|s
hrs|hour|s
days|day|s
weeks|week|s
degrees|degree|degree
arcminutes|arcmin|degree
arcseconds|arcsec|degree
hectares|hectare|m^2
acres|acre|m^2
litres|liter|m^3
gallons|gallon_US|m^3
fluid ounces|fluid_ounce_US|m^3
mph|mph|m/s
km/h|kmh|m/s
calories|calorie|J
atm|atm|Pa
bar|bar|Pa
sq ft|foot 2|m^2
cubic inches|inch 3|m^3
kg|kilo|g
kilometres|kilo|m
milligrams|milli|g
mL|milli|l
MHz|mega|Hz
mHz|milli|Hz
MW|mega|W
mW|milli|W
MJ|mega|J
mJ|milli|J
kV|kilo|V
mV|milli|V
MV|mega|V
mA|milli|amp
GHz|giga|Hz
nm|nano|m
KiB|kibi|byte
MiB|mebi|byte
TB|tera|byte
"""


@pytest.mark.parametrize("line", SIZES.split("\n")[1:-1])
def test_sizes_are_those_of_scipy(line):
    constants = pytest.importorskip("scipy.constants")
    name, constant, base = line.split("|")
    constant, _, power = constant.partition(" ")
    size = getattr(constants, constant) ** int(power or 1)
    if base == "degree":
        size /= constants.degree
    unit, rest = leading_unit(name)
    of_base, _ = leading_unit(base)
    assert rest == ""
    assert unit.dimension == of_base.dimension
    assert float(unit.size / of_base.size) == pytest.approx(size, rel=1e-8)


@pytest.mark.parametrize(
    ("one", "other", "times"),
    [
        *table(
            r"""
'Mb' | 'MB' | 8
'Gb' | 'GB' | 8
'ms' | 's' | 1000
'bit' | 'byte' | 8
'month' | 'year' | 12
"""
        ),
        ("mW", "MW", 10**9),
        ("mJ", "MJ", 10**9),
        ("mHz", "MHz", 10**9),
        ("mV", "MV", 10**9),
        ("kW", "W", Fraction(1, 1000)),
        ("s", "ms", Fraction(1, 1000)),
        ("kB", "KiB", Fraction(1024, 1000)),
    ],
)
def test_the_case_of_a_prefix_counts(one, other, times):
    assert same(read(f"{5 * times} {one}"), read(f"5 {other}")) is True
    assert not same_answer(f"5 {one}", f"5 {other}")


@pytest.mark.parametrize(
    "pair",
    table(
        r"""
'5 KM' | '5 km'
'5 ML' | '5 ml'
'5 KG' | '5 kg'
'5 Hours' | '5 hours'
'5 MILES' | '5 miles'
'5 CM' | '5 cm'
'5 gb' | '5 GB'
'5 kw' | '5 kW'
'5 Km.' | '5 km'
'5 MPH' | '5 mph'
"""
    ),
)
def test_capitals_without_another_meaning_are_the_same(pair):
    assert same_answer(*pair)


@pytest.mark.parametrize(
    ("left", "right"),
    table(
        r"""
'5 months' | '150 days'
'5 kelvin' | '5 celsius'
'5 rad' | '5 degrees'
'5 m' | '5 m^2'
'5 l' | '5 kg'
'5 Hz' | '5 s'
'5 yen' | '5 won'
'5 $' | '5 A$'
'5 C$' | '5 A$'
'5 km/h' | '5 km'
'5 eur' | '5 gbp'
"""
    ),
)
def test_dimensions_that_do_not_convert_leave_it_open(left, right):
    assert same(read(left), read(right)) is None
    assert same(read(right), read(left)) is None


@pytest.mark.parametrize(
    ("text", "scale", "dimension", "nouns"),
    [
        *table(
            r"""
'' | 1 | None | set()
'people' | 1 | None | set()
'red apples' | 1 | None | {'red', 'apple'}
'boxes' | 1 | None | {'box'}
'classes' | 1 | None | {'class'}
'berries in total' | 1 | None | {'berry'}
'dozen eggs' | 12 | None | {'egg'}
'km of road' | 1 | 'length' | set()
'in the box' | 1 | None | {'box'}
'buses' | 1 | None | {'buse'}
'dollars each' | 1 | 'usd' | set()
'miles per hour' | 1 | 'length/time' | set()
'square miles' | 1 | 'area' | set()
"""
        ),
        ("million", 10**6, None, set()),
        ("thousand million", 10**9, None, set()),
        ("million km", 10**6, "length", set()),
        ("lakh rupees", 10**5, "inr", set()),
    ],
)
def test_what_stands_behind_a_number(text, scale, dimension, nouns):
    said = behind(text, glued=False)
    assert said.scale == scale
    assert (said.unit.dimension if said.unit else None) == dimension
    assert said.nouns == nouns


@pytest.mark.parametrize(
    "text",
    cells(
        r"""
'x' | 'pi' | 'sqrt' | 'a b c d e f' | '5' | 'apples + pears' | 'apples!' | '=' | 'x y' | 'sin'
'= 5' | '@home'
"""
    ),
)
def test_what_is_no_tail_of_a_number(text):
    assert behind(text, glued=False) is None


@pytest.mark.parametrize(
    ("word", "glued", "money", "factor"),
    [
        *table(
            r"""
'k' | True | False | 1000
'K' | True | False | 1000
'K' | False | False | 0
'k' | False | False | 1000
'm' | True | False | 0
'mm' | True | False | 0
'eggs' | False | False | 0
'' | False | False | 0
"""
        ),
        ("M", True, False, 10**6),
        ("m", True, True, 10**6),
        ("b", True, True, 10**9),
        ("mm", True, True, 10**6),
        ("Million", False, False, 10**6),
        ("millions", False, False, 10**6),
        ("bn.", False, False, 10**9),
        ("Milliarden", False, False, 10**9),
    ],
)
def test_letters_scale_where_they_are_glued(word, glued, money, factor):
    assert scale_of(word, glued=glued, money=money) == factor


def test_several_units_leave_a_bare_number_alone():
    assert votes(["5", "5 km", "5 kg", None]) == [
        "=5",
        "=5000 length",
        "=5 mass",
        None,
    ]
