"""A run as Python has it: loaded from its folder, as data frames, as a table that is inert."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import synth
from synth.core.errors import WrongUse
from tests.conftest import ROOT, write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rows = [
        {"question": f"What is {n} + 5 ?", "target": str(n + 5)}
        for n in range(20)
    ]
    source = write(folder / "rows.jsonl", rows)
    return synth.run(
        "cot",
        source,
        teacher="simulated/mixed",
        output=folder / "out",
        draws=4,
    )


def test_a_run_is_opened_by_its_folder(made):
    again = synth.Run.load(made.folder)
    assert again.counts == made.counts
    assert again.info["content"] == made.info["content"]
    assert (again.exit_code, again.stopped) == (0, None)
    assert again.kept.column_names == made.kept.column_names


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(WrongUse, match=r"no run\.json"):
        synth.Run.load(tmp_path)


def test_frames_hold_the_rows_of_each_exit(made):
    counts = made.counts
    assert len(made.to_pandas()) == counts["kept"]
    dropped = made.to_pandas("dropped")
    assert dict(dropped["reason"].value_counts()) == counts["dropped"]
    tally = made.to_pandas("tally")
    assert tally["rows"].iloc[:-1].sum() == counts["asked"]
    assert len(made.to_pandas("failed")) == len(made.failed) == 0
    with pytest.raises(WrongUse, match="kept, dropped, failed or tally"):
        made.to_pandas("lost")


def test_failed_rows_say_why(tmp_path):
    replies = write(tmp_path / "replies.jsonl", [{"prompt": "x", "reply": "y"}])
    run = synth.run(
        "cot",
        [{"question": "What is 1 + 1 ?", "target": "2"}],
        teacher="rehearsed/cot",
        output=tmp_path / "out",
    )
    assert replies.is_file()
    assert sum(run.counts["failed"].values()) == len(run.failed) == 1
    assert run.failed[0]["reason"] in run.counts["failed"]
    assert synth.Run.load(run.folder).exit_code == 3


def test_what_a_notebook_draws_is_inert(made):
    hostile = "<script>alert(1)</script>"
    counts = {**made.counts, "dropped": {hostile: 3}}
    info = {**made.info, "counts": counts}
    run = synth.Run(Path(f"runs/{hostile}"), 5, hostile, info)
    page = run._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3
    assert "stopped" in repr(run)


def test_bars_are_one_for_each_exit(made):
    axes = made.plot()
    assert len(axes.patches) == len(made.to_pandas("tally")) - 1


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())
    assert all(not cell.get("outputs") for cell in book["cells"])
    names: dict[str, object] = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102 - our own cells
    assert (tmp_path / "runs" / "notebook" / "run.json").is_file()
    assert names["run"].counts["kept"]
