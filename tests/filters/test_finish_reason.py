from __future__ import annotations

from synth.filters.finish_reason import FinishReason


def test_it_reads_meta_and_takes_a_list():
    assert (
        FinishReason().judge({"meta": {"finish_reason": "length"}}).reason
        == "cut_off"
    )
    assert (
        FinishReason(allowed=("length",))
        .judge({"finish_reason": "length"})
        .keep
        is True
    )
    assert FinishReason().judge({}).keep is None
