"""`synth init pack`: a pack that runs as it is written."""

from __future__ import annotations

import pytest

from synth.packs.pack import Pack
from tests.plugins.test_parts import command


def test_a_first_pack_is_checked_and_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("init", "pack", "my_pack")
    assert done.exit_code == 0, done.output
    checked = command("check", "./my_pack", "--input", "my_pack/seeds.jsonl")
    assert checked.exit_code == 0, checked.output
    # The line that it prints is the line that runs.
    line = next(row for row in done.output.splitlines() if "synth run" in row)
    args = line.split("synth ")[1].split()
    ran = command(*args, "--quiet")
    assert ran.exit_code == 0, ran.output
    assert "| kept | | 2 |" in ran.output
    assert Pack.load("./my_pack").name == "my_pack"
    for target in ("sft", "sft:completion={{ answer }}"):
        out = tmp_path / "o.jsonl"
        assert (
            command(
                "export", "my_pack_run", "--to", target, "--output", out
            ).exit_code
            == 0
        )


def test_a_path_with_blanks_and_folders(tmp_path):
    folder = tmp_path / "of mine" / "deep" / "first"
    done = command("init", "pack", folder)
    assert done.exit_code == 0
    assert f"synth check '{folder}'" in done.output
    assert command("check", folder).exit_code == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("My-Pack", "synth init pack my_pack"),
        ("9lives", "synth init pack lives"),
        ("cot", "synth init pack my_cot"),
        ("ünder", "synth init pack nder"),
    ],
)
def test_a_name_that_no_pack_has_is_refused(tmp_path, monkeypatch, name, hint):
    monkeypatch.chdir(tmp_path)
    done = command("init", "pack", name)
    assert done.exit_code == 2
    assert hint in done.output
    assert not list(tmp_path.iterdir())


def test_nothing_of_the_users_is_touched(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert command("init", "pack", folder).exit_code == 2
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    file = tmp_path / "a_file"
    file.write_text("x")
    assert command("init", "pack", file).exit_code == 2
    assert file.read_text() == "x"
