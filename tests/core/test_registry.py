"""Names, parameters and types of parts."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import WrongUse


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("answer_macth", "Did you mean answer_match"),
        ("length:leest=3", "Did you mean least"),
        ("length:least=many", "wanted int"),
        ("length:least=9,most=3", "nothing would be kept"),
        ("length:least", "key=value"),
        ("self_consistency:min_share=1.5", "share from 0 to 1"),
        ("answer_match:unknown=perhaps", "'keep', 'drop'"),
        ({"name": "length", "most": True}, "wanted int"),
    ],
)
def test_wrong_specs_say_what_to_do(spec, message):
    with pytest.raises(WrongUse, match=message):
        registry.build("synth.filters", spec)


def test_values_are_cast_to_the_annotation():
    assert (
        registry.build(
            "synth.filters", "self_consistency:min_share=1"
        ).min_share
        == 1.0
    )
    assert registry.build(
        "synth.filters", {"name": "finish_reason", "allowed": ["stop"]}
    ).allowed == ("stop",)
    assert registry.build("synth.parsers", 'tagged:tags=["a","b"]').tags == (
        "a",
        "b",
    )
    assert registry.build("synth.filters", "length:most=null").most is None
