"""A file is held by one process, and by none once that has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from synth.processes.file_lock import InUse, locked

HOLDS = (
    "import sys, time; from pathlib import Path; "
    "from synth.processes.file_lock import locked; "
    "lock = locked(Path(sys.argv[1])); print('held', flush=True); "
    "time.sleep(60)"
)


def holder(path):
    words = [sys.executable, "-c", HOLDS, str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_another_process_is_named_and_leaves_no_lock_behind(tmp_path):
    path = tmp_path / "lock"
    process = holder(path)
    try:
        with pytest.raises(InUse) as caught:
            locked(path)
        assert caught.value.holder == str(process.pid)
        start = time.monotonic()
        with pytest.raises(InUse):
            locked(path, patience=0.5)
        assert time.monotonic() - start >= 0.5
    finally:
        process.kill()
        process.wait()
    with locked(path) as lock:
        assert path.read_text() == str(os.getpid())
        assert not lock.closed
    with locked(path, patience=5.0):
        pass


def test_a_holder_that_ends_is_waited_for(tmp_path):
    path = tmp_path / "lock"
    process = holder(path)
    process.kill()
    with locked(path, patience=10.0):
        assert path.read_text() == str(os.getpid())
    process.wait()


def test_one_process_holds_a_file_once(tmp_path):
    path = tmp_path / "lock"
    with locked(path), pytest.raises(InUse):
        locked(path)
    locked(path).close()
