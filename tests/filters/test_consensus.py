from __future__ import annotations

from synth.filters.consensus import Consensus


def test_json_text_is_read_and_order_in_lists_plays_no_part():
    rows = [
        {"question": "q", "json": text}
        for text in ('{"a": [1, 2]}', '{"a": [2, 1]}', '{"a": [3]}')
    ]
    kept, dropped = Consensus().split(rows)
    assert kept[0]["json"] != '{"a": [3]}'
    assert {row["reason"] for row in dropped} == {"not_central"}


def test_a_single_draw_agrees_with_itself():
    assert Consensus().split([{"question": "q", "json": {"a": 1}}])[0]
