"""The ratio is that of perplexities, and what it says of a row."""

from __future__ import annotations

from math import exp

import pytest

from synth.filters.ifd import Ifd
from synth.local_models.scores import losses
from tests import tiny


@pytest.mark.long
def test_it_is_the_ratio_of_perplexities():
    row = {"question": "What is 2", "completion": "it is a red pen"}
    verdict = Ifd(model=tiny.causal(), most=100).judge(row)
    (behind, _), (alone, _) = losses(
        [("What is 2", "it is a red pen"), ("", "it is a red pen")],
        tiny.causal(),
    )
    assert verdict.marks["ifd"] == pytest.approx(
        exp(behind) / exp(alone), abs=1e-3
    )
    assert verdict.marks["tokens"] == 5
