"""What is not a run's own is neither overwritten nor removed; a rerun stays a rerun."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import synth
from synth.core.errors import WrongUse
from synth.core.records import Seed
from synth.packs.pack import built_in
from synth.runs.ownership import check_endpoints, note, read_note

ROWS = [
    {"question": f"What is {n} + 1 ?", "target": str(n + 1)} for n in range(4)
]
SYNTH = str(Path(sys.executable).parent / "synth")


def run(output, rows=ROWS, pack="cot", **options):
    return synth.run(
        pack, rows, teacher="simulated/perfect", output=output, **options
    )


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize(
    "theirs",
    [
        "README.md",
        "data/mine.csv",
        "dropped/x",
        "pack/pack.yaml",
        "run.json",
        "failed.jsonl",
        "journal/diary.txt",
        ".unpublished/a",
        "notes",
    ],
)
def test_a_folder_of_somebody_else_is_left_alone(theirs, tmp_path):
    file = tmp_path / "home" / theirs
    file.parent.mkdir(parents=True)
    file.write_text('{"mine": 1}')
    before = snapshot(tmp_path)
    for options in ({}, {"replace": True}):
        with pytest.raises(
            WrongUse, match=r"is no run's.*wanted an empty folder"
        ):
            run(tmp_path / "home", **options)
    assert snapshot(tmp_path) == before


def test_empty_folders_hidden_files_and_links_to_folders_will_do(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitkeep").write_text("")
    (tmp_path / "link").symlink_to(home)
    assert run(tmp_path / "link").counts["kept"] == 4
    assert (home / ".gitkeep").exists()
    assert (home / "data").is_dir()
    with pytest.raises(WrongUse, match="a file"):
        run(home / "run.json")


def test_a_run_of_another_pack_or_of_other_rows_is_replaced_on_demand_alone(
    tmp_path,
):
    out = tmp_path / "out"
    run(out)
    before = snapshot(out)
    with pytest.raises(
        WrongUse,
        match="a run of pack 'cot'; wanted a run of pack 'distill_step_by_step'",
    ):
        run(out, pack="distill_step_by_step")
    with pytest.raises(
        WrongUse,
        match=r"a run over rows, of which no row is in rows.*replace=True",
    ):
        run(out, [{"question": "What is 70 + 1 ?", "target": "71"}])
    assert snapshot(out) == before
    done = run(
        out, [{"question": "What is 70 + 1 ?", "target": "71"}], replace=True
    )
    assert done.counts["kept"] == 1
    again = run(out, replace=True)
    assert again.counts["kept"] == 4
    assert again.info["calls"]["asked"] == 0  # the replies stayed


def test_what_changes_in_one_pack_or_grows_is_a_rerun(tmp_path):
    out = tmp_path / "out"
    run(out, ROWS[:2])
    assert run(out, ROWS).info["calls"] == {
        "asked": 2,
        "reused": 2,
        "retried": 0,
    }
    mine = shutil.copytree(built_in() / "cot", tmp_path / "mine")
    with (mine / "rationale.user.j2").open("a") as file:
        file.write("\nThink.\n")
    assert run(out, pack=mine).info["calls"]["asked"] == 4
    assert (
        run(out, ROWS[3:], pack=mine, overrides={"rationale.filters": []}).info[
            "calls"
        ]["asked"]
        == 0
    )
    assert run(out, pack=out / "pack").info["calls"]["asked"] == 0


def test_rows_that_never_left_are_known_by_the_note(tmp_path):
    """A run that was killed before it published: other rows are refused, the same rows go on."""
    out = tmp_path / "out"
    run(out)
    for name in ("data", "dropped"):
        shutil.rmtree(out / name)
    for name in ("run.json", "README.md", "failed.jsonl"):
        (out / name).unlink()
    with pytest.raises(WrongUse, match="no row is in"):
        run(out, [{"question": "What is 70 + 1 ?", "target": "71"}])
    assert run(out).info["calls"]["asked"] == 0
    (out / "journal" / "opened.json").unlink()  # as an earlier version left it
    (out / "run.json").unlink()
    assert run(out).info["calls"]["asked"] == 0


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        '{"pack": 3}',
        '{"pack": "cot", "seeds": 5}',
        "\xff",
        "null",
        '{"pack": {"name": []}}',
    ],
)
def test_a_broken_note_or_run_json_is_no_traceback(broken, tmp_path):
    out = tmp_path / "out"
    run(out)
    (out / "journal" / "opened.json").write_text(broken)
    (out / "run.json").write_text(broken)
    assert run(out).info["calls"]["asked"] == 0


def test_files_of_the_users_in_a_run_folder_are_never_removed(tmp_path):
    out = tmp_path / "out"
    run(out)
    (out / "notes.txt").write_text("mine")
    assert run(out).counts["kept"] == 4
    assert (out / "notes.txt").read_text() == "mine"
    for theirs in ("data/mine.parquet", "dropped/notes.txt", "pack/extra.j2"):
        file = out / theirs
        file.write_text("mine")
        with pytest.raises(
            WrongUse, match="did not write or which somebody changed"
        ):
            run(out, replace=True)
        assert file.read_text() == "mine"
        file.unlink()
    (out / "pack" / "rationale.user.j2").write_text("{{ question }} edited\n")
    with pytest.raises(WrongUse, match=r"pack/rationale\.user\.j2"):
        run(out)
    assert run(out, pack=out / "pack").counts["kept"] == 4


def test_an_edited_card_is_set_aside(tmp_path):
    out = tmp_path / "out"
    run(out)
    (out / "README.md").write_text("my words")
    run(out)
    (out / "README.md").write_text("my other words")
    run(out)
    assert (out / "README.yours.md").read_text() == "my words"
    assert (out / "README.yours.md-2").read_text() == "my other words"
    assert "4 kept" in (out / "README.md").read_text()
    run(out)
    assert not (out / "README.yours.md-3").exists()


def test_a_file_that_comes_into_data_while_the_run_goes_on_stays(tmp_path):
    from synth.runs.ownership import discard

    aside = tmp_path / ".old-data"
    aside.mkdir()
    (aside / "train-00000.parquet").write_text("rows")
    (aside / "mine.csv").write_text("mine")
    discard(aside)
    assert (tmp_path / "data.yours" / "mine.csv").read_text() == "mine"
    assert not (tmp_path / "data.yours" / "train-00000.parquet").exists()


def test_files_that_hold_replies_are_their_owners(tmp_path):
    old = os.umask(0o022)
    try:
        out = tmp_path / "out"
        run(out)
        assert stat.S_IMODE(out.stat().st_mode) == 0o700
        shared = tmp_path / "shared"
        shared.mkdir(mode=0o755)
        run(shared)
    finally:
        os.umask(old)
    for folder in (out, shared):
        for name in (
            "data",
            "dropped",
            "journal",
            "failed.jsonl",
            "run.json",
            "README.md",
        ):
            paths = (
                [folder / name, *(folder / name).rglob("*")]
                if (folder / name).is_dir()
                else [folder / name]
            )
            files = [path for path in paths if path.is_file()]
            assert files
            assert all(
                stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in files
            ), files
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    (out / "run.json").chmod(0o640)  # who opens a file to a group keeps it open
    run(out)
    assert stat.S_IMODE((out / "run.json").stat().st_mode) == 0o640


def test_standard_input_leaves_nothing_in_the_temporary_folder(tmp_path):
    spool = tmp_path / "tmp"
    spool.mkdir()
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    words = [
        SYNTH,
        "run",
        "cot",
        "--input",
        "-",
        "--output",
        str(tmp_path / "out"),
        "--teacher",
        "simulated/perfect",
    ]
    env = {**os.environ, "TMPDIR": str(spool)}
    for _ in range(2):
        done = subprocess.run(
            words,
            input=rows,
            capture_output=True,
            text=True,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert list(spool.iterdir()) == []
    assert "4" in done.stdout


def test_run_json_says_what_a_repeat_needs(tmp_path):
    run(tmp_path / "first")
    done = run(
        tmp_path / "out",
        draws=2,
        max_draws=9,
        id_column="nr",
        reuse=[str(tmp_path / "first")],
        taint=("gsm8k",),
    )
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert info["format"] == 2
    told = info["settings"]
    assert (told["draws"], told["max_draws"], told["id_column"], told["reuse"], told["taint"]) == (
        2, 9, "nr", [str(tmp_path / "first")], ["gsm8k"],
    )  # fmt: skip
    from dataclasses import fields

    from synth.pipeline.prepare import RunConfig

    assert {item.name for item in fields(RunConfig)} - {
        "overrides"
    } <= told.keys()
    assert done.exit_code == 0


def test_a_note_keeps_what_earlier_runs_noted(tmp_path):
    note(tmp_path, "cot", "a.jsonl", [Seed("1", {}), Seed("2", {})])
    note(tmp_path, "cot", "a.jsonl", [Seed("3", {})])
    assert read_note(tmp_path).seeds == {"1", "2", "3"}
    note(tmp_path, "cot", "b.jsonl", [Seed("4", {})])
    assert read_note(tmp_path).seeds == {"4"}


WRONG_URL, RIGHT_URL = "http://127.0.0.1:1/v1", "http://127.0.0.1:8000/v1"


def asked_at(folder, url):
    note(folder, "cot", "a.jsonl", [Seed("1", {})], {"openai/m": url})


def test_an_address_that_brought_no_reply_may_be_corrected(tmp_path):
    asked_at(tmp_path, WRONG_URL)
    (tmp_path / "journal" / "replies.log").touch()
    check_endpoints([tmp_path], {"openai/m": RIGHT_URL})
    asked_at(tmp_path, RIGHT_URL)
    assert read_note(tmp_path).endpoints == {"openai/m": [RIGHT_URL]}


@pytest.mark.parametrize("name", ["batches.log", "../shards/00000"])
def test_replies_that_may_be_under_way_keep_their_address(tmp_path, name):
    asked_at(tmp_path, WRONG_URL)
    (tmp_path / "journal" / name).mkdir(parents=True)
    with pytest.raises(WrongUse, match="replies from"):
        check_endpoints([tmp_path], {"openai/m": RIGHT_URL})
