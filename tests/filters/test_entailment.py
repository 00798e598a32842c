"""Rows that follow from their source, by a real (tiny) inference model."""

from __future__ import annotations

import pytest

from synth.filters.entailment import Entailment
from tests import tiny


@pytest.mark.long
def test_directions():
    row = {"source": "a red pen", "answer": "red pen"}
    assert Entailment(model=tiny.nli()).judge(row).reason == "not_entailed"
    assert Entailment(model=tiny.nli(), direction="backward").judge(row).keep
    assert (
        Entailment(model=tiny.nli(), direction="both").judge(row).reason
        == "not_entailed"
    )
    assert (
        Entailment(model=tiny.nli(), direction="both")
        .judge({"source": "a red pen", "answer": "a red pen"})
        .keep
    )
