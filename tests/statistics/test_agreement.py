from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.statistics.agreement import krippendorff_alpha

# Krippendorff (2011), section A: two observers, binary values; he finds 0.095.
MEG = "0100000010"
OWEN = "1110010000"
# Section C: four observers, nominal values, some missing; he finds 0.743.
FOUR = (
    "123321412...",
    "12332241 25.3".replace(" ", ""),
    ".33323422 51.",
    "12332441 251.",
)


def test_two_observers_of_the_published_example():
    alpha = krippendorff_alpha(zip(MEG, OWEN, strict=True))
    assert alpha == pytest.approx(0.095, abs=5e-4)


def test_four_observers_with_missing_values_of_the_published_example():
    rows = [row.replace(" ", "") for row in FOUR]
    units = [
        tuple(None if value == "." else value for value in unit)
        for unit in zip(*rows, strict=True)
    ]
    assert len(units) == 12
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_nothing_to_say():
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([("a", None)]) is None
    assert krippendorff_alpha([("a", "a")]) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_who_stands_first_and_what_values_are_called_does_not_count(units):
    alpha = krippendorff_alpha(units)
    turned = krippendorff_alpha([(b, a) for a, b in units])
    renamed = krippendorff_alpha([(str(a), str(b)) for a, b in units])
    assert alpha == turned == renamed
    assert alpha is None or -1 <= alpha <= 1
