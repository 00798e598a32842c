"""Spellings that a generator makes are read back as equal; spellings of other values never are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from synth.answers.equal import same_answer

WHOLE = st.integers(-(10**9), 10**9)
SPELLINGS = (
    str, lambda n: f"{n:,}" if abs(n) >= 10**6 else str(n), lambda n: f"{n:,}".replace(",", "\u202f"), lambda n: f"**{n}**", lambda n: rf"\boxed{{{n}}}",
    lambda n: f"The answer is {n}.", lambda n: f"{n} apples", lambda n: f"{n} in total", lambda n: f"{n}.0", lambda n: rf"$\text{{{n}}}$",
    lambda n: f"{2 * n} / 2", lambda n: rf"\frac{{{3 * n}}}{{3}}", lambda n: str(n).translate({ord("0") + d: chr(0x0966 + d) for d in range(10)}),
    lambda n: str(n).translate({ord("0") + d: chr(0xFF10 + d) for d in range(10)}), lambda n: f"{n:,}".replace(",", "{,}"), lambda n: f"approximately {n}",
    lambda n: str(n).replace("-", "\u2212"), lambda n: f"{n} (about)", lambda n: f"`{n}`", lambda n: f"{n} * 1",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(WHOLE, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_two_spellings_of_a_number(value, first, second):
    assert same_answer(first(value), second(value))


@settings(max_examples=300, deadline=None)
@given(WHOLE, WHOLE, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_spellings_of_two_numbers(value, other, first, second):
    for wrong in {other, value + 1, 10 * value, -value} - {value}:
        assert not same_answer(first(value), second(wrong))
