"""A run of a built-in pack that has changed since goes on as it was begun, unless the user says otherwise."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.packs import pack as packs
from synth.pipeline import prepare
from tests.conftest import chat, write

ROWS = [
    {"question": f"What is {n} + 1 ?", "target": str(n + 1)} for n in range(6)
]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The built-in packs, in a folder that a test may change."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    shutil.copytree(packs.built_in() / "cot", folder / "cot")
    for module in (packs, prepare):
        monkeypatch.setattr(module, "built_in", lambda: folder)
    return folder


def change(shelf, line):
    with (shelf / "cot" / "rationale.user.j2").open("a") as template:
        template.write(line)


def ran(tmp_path, url, rows, *options):
    source = write(tmp_path / "rows.jsonl", rows)
    return CliRunner().invoke(
        main,
        [
            *("run", "cot", "--input", str(source), "--output", str(tmp_path / "run")),
            *("--teacher", "openai/m", "--api-base", url, "--api-key-env", ""),
            *options,
        ],
    )  # fmt: skip


def test_it_goes_on_with_its_own_copy_and_says_so(tmp_path, shelf, serve):
    with serve(lambda body, count: chat("1 + 1 = 2\n#### 2")) as server:
        first = ran(tmp_path, server.url, ROWS[:4])
        assert first.exit_code == 0, first.output
        change(shelf, "Be brief.\n")
        again = ran(tmp_path, server.url, ROWS)
        assert again.exit_code == 0, again.output
        assert "--upgrade-pack takes the new one" in again.output
        assert len(server.bodies) == 6
        assert not any("Be brief" in str(body) for body in server.bodies)
        new = ran(tmp_path, server.url, ROWS, "--upgrade-pack")
        assert new.exit_code == 0, new.output
        assert "6 calls where all steps did" in new.output
        assert len(server.bodies) == 12
        assert "Be brief" in str(server.bodies[-1])
        last = ran(tmp_path, server.url, ROWS)
        assert "has changed" not in last.output
        assert len(server.bodies) == 12


def test_recorded_replies_alone_change_nothing(tmp_path, shelf, serve):
    with serve(lambda body, count: chat("1 + 1 = 2\n#### 2")) as server:
        ran(tmp_path, server.url, ROWS[:1])
        with (shelf / "cot" / "cases.yaml").open("a") as cases:
            cases.write("# more\n")
        assert "has changed" not in ran(tmp_path, server.url, ROWS[:1]).output


def test_a_pack_of_the_users_own_is_taken_as_it_is(tmp_path, shelf, serve):
    own = tmp_path / "cot"
    shutil.copytree(shelf / "cot", own)
    common = {
        "teacher": "openai/m",
        "api_key_env": "",
        "output": tmp_path / "run",
    }
    with serve(lambda body, count: chat("1 + 1 = 2\n#### 2")) as server:
        synth.run(own, ROWS[:2], api_base=server.url, **common)
        with (own / "rationale.user.j2").open("a") as template:
            template.write("Be brief.\n")
        synth.run(own, ROWS[:2], api_base=server.url, **common)
        assert len(server.bodies) == 4


def test_a_copy_that_somebody_touched_is_not_gone_on_with(
    tmp_path, shelf, serve
):
    with serve(lambda body, count: chat("1 + 1 = 2\n#### 2")) as server:
        ran(tmp_path, server.url, ROWS[:1])
        change(shelf, "Be brief.\n")
        (tmp_path / "run" / "pack" / "rationale.user.j2").unlink()
        again = ran(tmp_path, server.url, ROWS[:1])
    assert "has changed" not in again.output
