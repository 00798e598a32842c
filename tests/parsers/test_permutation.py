from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import Unreadable
from synth.parsers.permutation import Permutation

ROW = {"documents": list("abcd")}


def test_repairs_are_made_and_counted():
    assert Permutation().parse("[3] > [3] > [9] > [1] > [2]", ROW) == {
        "ranks": [2.0, 3.0, 1.0, 4.0],
        "repaired": 1.0,
    }


def test_broken_lists_are_not_hidden():
    with pytest.raises(Unreadable, match="too_much_missing"):
        Permutation().parse("[3] > [1]", ROW)
    assert Permutation(most_repaired=1.0).parse("[4]", ROW)["repaired"] == 3.0


SPELLINGS = [
    "[2] > [3] > [1]", "2 > 3 > 1", "2, 3, 1", "Ranking the 3 passages: [2] > [3] > [1]", "The 3 passages in order: 2, 3, 1", "Passage 2 > Passage 3 > Passage 1",
    "**[2] > [3] > [1]**", "```\n[2] > [3] > [1]\n```", "1. [2]\n2. [3]\n3. [1]", "1. Passage 2\n2. Passage 3\n3. Passage 1", "1st: passage 2\n2nd: passage 3\n3rd: passage 1",
    "[1] is short; [2] answers it.\nFinal: [2] > [3] > [1]", "[1] > [2] is wrong. [2] > [3] > [1]", "[1] > [2] > [3]? No: [2] > [3] > [1]", "2\n3\n1", "[2] &gt; [3] &gt; [1]", "[2], [3], [1]",
    "Top 3: [2] > [3] > [1] (of 3 passages)", "[2]>[3]>[1]", "[2] > [3] >\n[1]",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_orders_are_not_read_out_of_what_is_around_them(text):
    assert registry.build("synth.parsers", "permutation").parse(
        text, {"documents": ["a", "b", "c"]}
    )["ranks"] == [3, 1, 2]


@pytest.mark.parametrize(
    "text", ["[1] < [3] < [2]", "1 &lt; 3", "none of them", "[7] > [9]"]
)
def test_an_order_from_the_worst_on_is_none(text):
    with pytest.raises(Unreadable, match="no_order"):
        registry.build("synth.parsers", "permutation").parse(
            text, {"documents": ["a", "b", "c"]}
        )


@pytest.mark.parametrize(
    "text",
    [
        "[1] > " * 50_000,
        "1" * 200_000,
        "1," * 100_000,
        "1. " * 100_000,
        "[" * 200_000,
        "passage " * 50_000,
        "1" + " " * 200_000,
    ],
)
def test_orders_without_end_cost_little(text):
    try:
        registry.build("synth.parsers", "permutation").parse(
            text, {"documents": ["a", "b", "c"]}
        )
    except Unreadable as error:
        assert error.reason in ("no_order", "too_much_missing")
