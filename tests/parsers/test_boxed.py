from __future__ import annotations

from synth.parsers.boxed import Boxed


def test_the_last_box_counts_and_braces_balance():
    found = Boxed().parse(
        r"first \boxed{1}, in fact $\boxed{\frac{1}{\sqrt{2}}}$.", {}
    )
    assert found["answer"] == r"\frac{1}{\sqrt{2}}"
    assert found["rationale"].endswith("in fact")
