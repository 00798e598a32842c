"""What texts beside a question change of answers that were right without them."""

from __future__ import annotations

import pytest

from finetune.measures.base import measured
from finetune.measures.skew import Skew


def row(group: str, variant: str, right: bool, reply: str = "it is 4") -> dict:
    return {
        "group": group,
        "variant": variant,
        "right": right,
        "reply": reply,
        "prompt": f"{group} {variant}",
    }


def test_only_questions_that_are_right_alone_count():
    rows = [
        row("a", "plain", True),
        row("a", "unrelated", True),
        row("a", "related", False, "I'm not sure."),
        row("b", "plain", True),
        row("b", "unrelated", False),
        row("b", "related", False),
        row("c", "plain", False),
        row("c", "related", False),
        row("d", "related", False),
    ]
    found = measured(Skew(), rows)
    assert found["value"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["questions"] == 2
    assert found["unsure"] == pytest.approx(1 / 4)
    assert found["variants"] == {
        "related": {"wrong": 1.0, "unsure": 0.5, "rows": 2},
        "unrelated": {"wrong": 0.5, "unsure": 0.0, "rows": 2},
    }


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("I do not know.", True),
        ("It cannot be determined", True),
        ("Surely 4", False),
        ("uncertain", True),
    ],
)
def test_who_is_not_sure_says_so(reply, told):
    rows = [row("a", "plain", True), row("a", "related", False, reply)]
    assert measured(Skew(), rows)["unsure"] == float(told)


def test_nothing_right_says_nothing():
    assert measured(Skew(), [row("a", "plain", False)])["value"] is None
