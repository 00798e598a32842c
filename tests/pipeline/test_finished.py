"""A finished run of which nothing has changed is the answer as it stands; any change makes it
again.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.inputs.seeds import Seeds
from synth.pipeline import finished
from synth.pipeline.prepare import Prepared
from tests.conftest import chat, serving, write

ROWS = [{"question": f"[{n}] pens ?", "target": "3"} for n in range(30)]


def stamps(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file: file.stat().st_mtime_ns for file in files}


@pytest.fixture
def server():
    with serving(lambda body, count: chat("So.\n#### 3")) as opened:
        yield opened


@pytest.fixture
def made(tmp_path, server):
    """(input, folder, options) of a run that is finished."""
    source = write(tmp_path / "rows.jsonl", ROWS)
    how = {
        "teacher": "openai/m",
        "api_base": server.url,
        "output": tmp_path / "out",
    }
    run = synth.run("cot", source, **how)
    assert run.counts["kept"] == 30
    return source, tmp_path / "out", how


def refuse(*args, **more):
    raise AssertionError("the input is read")


def test_no_row_is_read_and_no_file_is_written(made, server, monkeypatch):
    source, folder, how = made
    before = stamps(folder)
    asked = len(server.bodies)
    monkeypatch.setattr(Seeds, "rows", refuse)
    again = synth.run("cot", source, concurrency=3, rpm=600, budget=None, **how)
    assert stamps(folder) == before
    assert len(server.bodies) == asked
    assert again.exit_code == 0
    assert again.counts["kept"] == 30
    assert again.info["calls"] == {"asked": 0, "reused": 30, "retried": 0}
    assert len(again.kept) == 30


def test_the_command_says_so(made):
    source, folder, how = made
    words = ["run", "cot", "--input", str(source), "--output", str(folder)]
    words += ["--teacher", "openai/m", "--api-base", how["api_base"]]
    # The command line writes its empty options in another way than Python does.
    first = CliRunner().invoke(main, words)
    again = CliRunner().invoke(main, words)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "nothing has changed" in again.output
    assert "| kept | | 30 |" in again.output
    assert "0 asked, 30 reused" in again.output


def changed_rows(source, folder):
    write(source, [*ROWS[:-1], {"question": "new ?", "target": "3"}])


def lost_rows(source, folder):
    (folder / "data" / "train-00000.parquet").unlink()


def broken_rows(source, folder):
    with (folder / "data" / "train-00000.parquet").open("ab") as file:
        file.write(b"x")


def changed_card(source, folder):
    (folder / "README.md").write_text("mine")


def lost_card(source, folder):
    (folder / "README.md").unlink()


def unfinished(source, folder):
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "complete": False}))


def failed(source, folder):
    info = json.loads((folder / "run.json").read_text())
    info["counts"]["failed"] = {"timeout": 1}
    (folder / "run.json").write_text(json.dumps(info))


def broken_run(source, folder):
    (folder / "run.json").write_text("{")


@pytest.mark.parametrize(
    "change",
    [
        changed_rows,
        lost_rows,
        broken_rows,
        changed_card,
        lost_card,
        unfinished,
        failed,
        broken_run,
    ],
)
def test_what_changed_on_disk_is_published_anew(made, change):
    source, folder, how = made
    change(source, folder)
    again = synth.run("cot", source, **how)
    assert again.counts == {
        "asked": 30,
        "kept": 30,
        "dropped": {},
        "failed": {},
    }
    assert len(again.kept) == 30
    assert json.loads((folder / "run.json").read_text())["complete"]
    # And now it stands.
    before = stamps(folder)
    synth.run("cot", source, **how)
    assert stamps(folder) == before


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 7},
        {"draws": 2},
        {"seed": 3},
        {"overrides": {"rationale.filters": ["finish_reason"]}},
        {"taint": ("gsm8k",)},
        {"target": 5},
        {"columns": {"gold": "target"}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_another_setting_is_another_run(made, more):
    source, folder, how = made
    before = stamps(folder)
    synth.run("cot", source, **how, **more)
    assert stamps(folder) != before


def test_another_version_of_the_code_judges_again(made, monkeypatch):
    source, folder, how = made
    before = stamps(folder)
    monkeypatch.setattr(finished, "_code", lambda: "another")
    synth.run("cot", source, **how)
    assert stamps(folder) != before


@pytest.mark.parametrize("others", ["", "+{}/b.jsonl"])
def test_files_that_a_filter_reads_count(made, tmp_path, others):
    source, _, how = made
    known = write(tmp_path / "eval.jsonl", [{"question": "something else"}])
    write(tmp_path / "b.jsonl", [{"question": "and another thing"}])
    part = {
        "name": "contamination",
        "against": f"{known}{others.format(tmp_path)}",
        "field": "question",
        "short": 2,
    }
    more = {**how, "overrides": {"rationale.filters": [part]}}
    assert synth.run("cot", source, **more).counts["kept"] == 30
    write(known, [{"question": ROWS[0]["question"]}])
    assert synth.run("cot", source, **more).counts["kept"] < 30


def lost_replies(source, folder):
    (folder / "journal" / "replies.log").unlink()


def test_who_takes_the_replies_away_gets_new_ones(made, server):
    source, folder, how = made
    asked = len(server.bodies)
    lost_replies(source, folder)
    assert synth.run("cot", source, **how).counts["kept"] == 30
    assert len(server.bodies) == 2 * asked


def test_other_packages_judge_again(made, monkeypatch):
    source, folder, how = made
    before = stamps(folder)
    monkeypatch.setattr(finished, "_packages", lambda: "others")
    synth.run("cot", source, **how)
    assert stamps(folder) != before


def test_a_target_that_is_missed_is_missed_again(made, tmp_path):
    source, _, how = made
    how = {**how, "output": tmp_path / "few", "max_draws": 1}
    for _ in range(2):
        run = synth.run("cot", source, target=40, **how)
        assert run.exit_code == 3
        assert "30 of 40 rows" in run.stopped


def test_a_target_whose_draws_were_ended_is_met(made, tmp_path, monkeypatch):
    source, _, how = made
    how = {**how, "output": tmp_path / "few"}
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "with_draws", refuse)
        with pytest.raises(AssertionError):
            synth.run("cot", source, target=40, **how)
    assert synth.run("cot", source, target=40, **how).counts["kept"] == 40


def test_rows_in_memory_are_walked_each_time(made, server):
    _, folder, how = made
    for _ in range(2):
        before = stamps(folder)
        synth.run("cot", ROWS, replace=True, **how)
        assert stamps(folder) != before
    assert len(server.bodies) == 30


def test_teachers_that_are_files_are_walked_each_time(tmp_path):
    source = write(tmp_path / "rows.jsonl", ROWS[:2])
    pack = synth.Pack.load("cot")
    for name in ("local/x", "replay/x.jsonl", "rehearsed/cot", "mine:T/x"):
        config = synth.RunConfig(teachers={"teacher": name})
        assert finished.fingerprint(pack, source, config.values) is None
    config = synth.RunConfig(teachers={"teacher": "openai/m"})
    assert finished.fingerprint(pack, source, config.values)
    for unknown in ("-", "s3://b/k.jsonl", str(tmp_path), "hub/name", ROWS):
        assert finished.fingerprint(pack, unknown, config.values) is None


def test_a_finished_shard_is_not_walked_again(made, server, monkeypatch):
    source, folder, how = made
    how = {**how, "output": folder.with_name("many")}
    synth.plan_shards("cot", source, shards=2, **how)
    for shard in range(2):
        synth.run("cot", source, shard=shard, **how)
    before = stamps(folder.with_name("many"))
    asked = len(server.bodies)
    for shard in range(2):
        run = synth.run("cot", source, shard=shard, **how)
        assert run.counts["kept"]
    assert stamps(folder.with_name("many")) == before
    assert len(server.bodies) == asked


def test_rows_of_another_teacher_are_not_replaced_without_a_word(made):
    source, folder, how = made
    words = ["run", "cot", "--input", str(source), "--output", str(folder)]
    words += ["--api-base", how["api_base"]]
    same = CliRunner().invoke(main, [*words, "--teacher", "openai/m"])
    assert "they are replaced" not in same.output
    other = CliRunner().invoke(main, [*words, "--teacher", "openai/other"])
    assert (
        "are of openai/m; they are replaced, its replies stay" in other.output
    )
    assert other.exit_code == 0


def test_a_plan_over_a_finished_run_counts_its_rows(made):
    source, folder, how = made
    words = ["--input", str(source), "--output", str(folder), "--json"]
    words += ["--teacher", "openai/m", "--api-base", how["api_base"]]
    planned = CliRunner().invoke(main, ["plan", "cot", *words])
    assert json.loads(planned.stdout.splitlines()[-1])["calls"] == 30
