from __future__ import annotations

import pytest

from synth.core.errors import WrongUse
from tests.exports.test_sft import folder, rows_of  # noqa: F401 - a fixture


def test_two_tasks_per_row_stand_together(folder):  # noqa: F811
    rows = rows_of(folder, "multitask")
    assert len(rows) == 2 * folder.run["counts"]["kept"]
    assert [row["task"] for row in rows[:4]] == ["label", "rationale"] * 2
    assert rows[0]["id"] == rows[1]["id"]
    assert rows[0]["prompt"].startswith("predict: ")
    assert rows[1]["prompt"].startswith("explain: ")
    assert {
        row["task"] for row in rows_of(folder, 'multitask:tasks=["label"]')
    } == {"label"}


def test_unknown_tasks_are_refused(folder):  # noqa: F811
    with pytest.raises(WrongUse, match="label, rationale"):
        rows_of(folder, 'multitask:tasks=["labels"]')
