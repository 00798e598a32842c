"""Systems solved exactly; what is open or unreadable is unknown; hostile text costs little."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.verifiers.equations import Equations

SYSTEMS = [
    ("x + y = 10\nx - y = 4\nans = x", "7"), ("Let the cost be:\n c = 3 * 1,200\nanswer = 25% * c", "900"), ("2x + 3y = 12\n4(x + y) = 20\nans = 2x", "6"),
    ("w = 5\nh = w + 2\narea = w * h", "35"), ("1) total = 5^2 + 3".replace("1) ", ""), "28"), ("x/2 + x/3 = 10\nx = x", "12"), ("price = $18\nans = 2 × price − 6", "30"),
    ("ans = a + b\na = 1\nb = 2", "3"), ("speed = 60\ntime = 3\ndistance / time = speed\nans = distance", "180"), ("- x = 4", "-4"),
]  # fmt: skip
OPEN = [
    "x + y = 10",
    "no equation here",
    "",
    "x * y = 12",
    "x = y\ny = x",
    "x == 3",
    "f(x) = 3\n",
    "x = 1/0",
    "import os = 3",
    "__import__('os') = 1",
    "x = 'a'",
    "a = [1]",
    "x = 3 = 3",
]


@pytest.mark.parametrize(("text", "gold"), SYSTEMS)
def test_systems_are_solved(text, gold):
    assert Equations().verify(text, gold) is True
    assert Equations().verify(text, "1000003") is False


@pytest.mark.parametrize("text", OPEN)
def test_what_is_open_or_unreadable_is_unknown(text):
    assert Equations().verify(text, "5") is None


def test_a_contradiction_is_wrong_and_the_asked_unknown_can_be_named():
    assert Equations().solve("x = 1\nx = 2").status == "contradiction"
    assert Equations().verify("x = 1\nx = 2", "1") is False
    assert Equations(asked="y").verify("x = 1\ny = 2\nz = 3", "2")


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=5), st.randoms())
def test_random_systems_have_their_solution(values, rng):
    names = [f"v{n}" for n in range(len(values))]
    lines, rows = [], []
    for n in range(len(values)):
        row = [
            rng.randint(-4, 4) if other != n else rng.choice((-30, 30))
            for other in range(len(values))
        ]  # diagonally dominant
        rows.append(row)
        terms = " + ".join(
            f"{c}*{name}" if c >= 0 else f"({c})*{name}"
            for c, name in zip(row, names, strict=True)
        )
        lines.append(
            f"{terms} = {sum(c * v for c, v in zip(row, values, strict=True))}"
        )
    rng.shuffle(lines)
    found = Equations().solve("\n".join(lines))
    assert found.status == "solved"
    assert found.values == {
        name: Fraction(v) for name, v in zip(names, values, strict=True)
    }


def test_hostile_text_costs_little():
    started = time.process_time()
    for text in (
        "x = " + "(" * 90 + "1" + ")" * 90, "x = " + "9" * 150, "\n".join(f"v{n} = v{n + 1} * v{n + 1}" for n in range(99)) + "\nv99 = 9", "x = 9**9**9**9", "x = 2^9999999", "=" * 10_000,
        "\n".join("x = x ^ 16" for _ in range(100)), "\n".join(f"a{n} + a{n + 1} = {n}" for n in range(100)), "x = " + "-" * 190 + "1", "a" * 10_000 + " = 1", "x = 1e999",
    ):  # fmt: skip
        Equations().verify(text, "5")
    assert time.process_time() - started < 3
