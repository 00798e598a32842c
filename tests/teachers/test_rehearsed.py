"""A pack's own replies as a teacher: by step, draw and element; anything else is refused."""

from __future__ import annotations

import pytest

import synth
from synth.core.errors import WrongUse
from tests.pipeline.test_run import STEPS_PACK, make_pack

CASES = """
cases:
  - about: two parts
    inputs: {question: one}
    replies:
      - {text: '{"parts": ["a", "b"]}', fields: {parts: [a, b]}}
      - {step: solve, text: "#### 1", fields: {so_far: "1"}}
      - {step: solve, text: "#### 2", fields: {so_far: "2"}}
      - {step: conclude, text: "#### 3", fields: {answer: "3"}}
"""


def test_every_step_is_answered_and_other_seeds_are_not(tmp_path):
    pack = make_pack(tmp_path / "pack", {**STEPS_PACK, "cases.yaml": CASES})
    rows = [{"question": "one"}, {"question": "two"}]
    run = synth.run(
        pack, rows, teacher=f"rehearsed/{pack}", output=tmp_path / "out"
    )
    assert run.counts == {
        "asked": 4,
        "kept": 3,
        "dropped": {},
        "failed": {"not_rehearsed": 1},
    }
    assert [s["so_far"] for s in run.kept[0]["solve"]] == ["1", "2"]
    assert "no model was asked" in (tmp_path / "out" / "README.md").read_text()


def test_a_pack_without_cases_cannot_be_rehearsed(tmp_path):
    pack = make_pack(tmp_path / "pack", STEPS_PACK)
    with pytest.raises(WrongUse, match=r"without cases\.yaml"):
        synth.run(
            pack,
            [{"question": "one"}],
            teacher=f"rehearsed/{pack}",
            output=tmp_path / "out",
        )
