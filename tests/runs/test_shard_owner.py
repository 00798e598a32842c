"""A shard's folder has one writer: who comes back writes into a folder that no name leads to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from synth.core.errors import WrongUse
from synth.runs.shard_owner import owned


def fill(folder, text="old"):
    (folder / "journal").mkdir(parents=True)
    (folder / "journal" / "replies.log").write_text(text)
    (folder / "journal" / "lock").write_text("7")
    (folder / "data").mkdir()


def journal(folder):
    return (folder / "journal" / "replies.log").read_text()


def test_an_owner_that_ends_in_order_leaves_the_folder_as_it_wrote_it(tmp_path):
    folder = tmp_path / "00003"
    with owned(folder, 1) as path:
        fill(path)
    before = folder.stat().st_ino
    with owned(folder, 2) as path:
        assert journal(path) == "old"
    assert folder.stat().st_ino == before
    assert (folder / "data").is_dir()
    assert list(tmp_path.glob("*.owner-*")) == []


def test_one_number_has_one_owner(tmp_path):
    folder = tmp_path / "00003"
    with (
        owned(folder, 1),
        pytest.raises(WrongUse, match="owned"),
        owned(folder, 1),
    ):
        pass
    with (
        owned(folder, 5),
        pytest.raises(WrongUse, match="later process"),
        owned(folder, 4),
    ):
        pass


def test_who_comes_back_writes_nothing_into_the_next_owners_folder(tmp_path):
    folder = tmp_path / "00003"
    with owned(folder, 1) as zombie:
        fill(zombie)
        (zombie / ".unpublished").mkdir()
        log = (zombie / "journal" / "replies.log").open("a")
        with owned(folder, 2) as path:
            assert journal(path) == "old"
            assert not (path / "journal" / "lock").exists()
            assert (path / "data").is_dir()
            assert not (path / ".unpublished").exists()
            log.write(" and a reply")
            log.flush()
            with pytest.raises(FileNotFoundError):
                (zombie / "run.json").write_text("{}")
            (path / "run.json").write_text("mine")
        log.close()
    assert journal(folder) == "old"
    assert (folder / "run.json").read_text() == "mine"


CODE = """
import os, signal, sys
from pathlib import Path
from synth.runs import shard_owner
real = getattr(shard_owner.{module}, "{name}")
def die(*args, **more):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(shard_owner.{module}, "{name}", die)
with shard_owner.owned(Path(sys.argv[1]), 2) as path:
    pass
"""


@pytest.mark.parametrize(
    ("module", "name", "nth"),
    [
        ("shutil", "copytree", 1),
        ("Path", "rename", 1),
        ("Path", "rename", 2),
        ("shutil", "rmtree", 1),
        ("Path", "unlink", 1),
    ],
)
def test_a_death_while_a_folder_is_taken_over_loses_no_reply(
    tmp_path, module, name, nth
):
    folder = tmp_path / "00003"
    fill(folder)
    (tmp_path / "00003.owner-1").touch()
    code = CODE.replace(
        "def die(*args, **more):\n",
        "calls = []\ndef die(*args, **more):\n    calls.append(1)\n"
        f"    if len(calls) < {nth}:\n        return real(*args, **more)\n",
    ).format(module=module, name=name)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=False
    )
    assert done.returncode == -signal.SIGKILL
    with owned(folder, 3) as path:
        assert journal(path) == "old"
    assert journal(folder) == "old"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"00003", "00003.lock"}


def test_a_process_that_is_stopped_while_it_takes_over_keeps_others_out(
    tmp_path,
):
    folder = tmp_path / "00003"
    fill(folder)
    (tmp_path / "00003.owner-1").touch()
    code = CODE.replace("SIGKILL", "SIGSTOP").replace(
        "SIGSTOP)\n",
        'SIGSTOP)\n    setattr(shard_owner.{module}, "{name}", real)\n    return real(*args, **more)\n',
    )
    code = code.format(module="shutil", name="copytree")
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    with pytest.raises(WrongUse, match="taken over"), owned(folder, 3):
        pass
    process.send_signal(signal.SIGCONT)
    assert process.wait(10) == 0
    with owned(folder, 3) as path:
        assert journal(path) == "old"
