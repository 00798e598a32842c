"""The longest common subsequence, by hand."""

from __future__ import annotations

import pytest

from finetune.measures.rouge_l import RougeL


def test_against_the_best_gold():
    row = {
        "answer": "police killed the gunman",
        "target": ["the gunman", "police kill the gunman"],
    }
    # Three of four words of each, in order (Lin's own example).
    assert RougeL().of_question([row]) == pytest.approx(0.75)
    assert RougeL().of_question([row, {**row, "answer": "x"}]) == pytest.approx(
        0.375
    )
