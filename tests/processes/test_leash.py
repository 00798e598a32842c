"""Workers end with the process that started them, whatever ended it and whatever they are doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from synth.processes import leash
from synth.processes.worker import Pool, Worker
from tests.conftest import rest_long

GONE_SECONDS = 2.0
ENDING = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

# A worker that says its number, then sleeps, computes inside one call that holds the interpreter, or floods.
ODD = """
import json, os, sys, time
NUMBER = str(os.getpid())
def note():
    with open(sys.argv[1], "a") as file:
        file.write(NUMBER + "\\n")
if sys.argv[2] == "loading":
    note()
    10 ** 10 ** 10
print('{"ready": true}', flush=True)
for line in sys.stdin:
    said = json.loads(line)
    note()
    if said == "hold": 10 ** 10 ** 10
    if said == "sleep": time.sleep(600)
    if said == "deaf": time.sleep(600)
    print(json.dumps(said), flush=True)
    if said == "flood":
        while True: os.write(1, b"x" * 65536)
"""

PARENT = """
import signal, sys, threading, time
from synth.processes.worker import Worker
# Whoever starts the tests in the background has these signals ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
script, notes, doing = sys.argv[1:]
def work():
    worker = Worker(script, notes, doing, seconds=600, start_seconds=600)
    worker.ask(doing)
    if doing == "deaf":
        worker.ask("x" * 10_000_000)
    kept.append(worker)
kept = []
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            not in "ZX"
        )
    except OSError:
        return False


def gone(pids, seconds=GONE_SECONDS) -> bool:
    """Whether all are gone in time."""
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def numbers(notes: Path, count: int, seconds=60.0) -> list[int]:
    """The numbers that workers have noted, once there are so many."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = set(notes.read_text().split()) if notes.exists() else ()
        if len(found) >= count:
            return [int(number) for number in found]
        time.sleep(0.02)
    raise AssertionError(f"{count} workers did not come up")


@pytest.mark.parametrize(
    ("doing", "number"),
    [
        *rest_long([("hold", number) for number in ENDING]),
        *rest_long(
            [
                (doing, signal.SIGKILL)
                for doing in ("loading", "idle", "sleep", "deaf", "flood")
            ],
            2,
        ),
    ],
)
def test_workers_are_gone_two_seconds_after_whoever_started_them(
    tmp_path, doing, number
):
    script, notes = tmp_path / "odd.py", tmp_path / "notes"
    script.write_text(ODD)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(script), str(notes), doing],
        stderr=subprocess.DEVNULL,
    )
    try:
        workers = numbers(notes, 3)
        time.sleep(0.1)
        assert all(map(alive, workers))
        parent.send_signal(number)
        assert gone([parent.pid, *workers])
    finally:
        parent.kill()
        parent.wait()


def test_a_worker_outlives_the_thread_that_asked_first(tmp_path):
    script = tmp_path / "odd.py"
    script.write_text(ODD)
    worker = Worker(str(script), str(tmp_path / "notes"), "idle")
    said = []
    thread = threading.Thread(target=lambda: said.append(worker.ask("first")))
    thread.start()
    thread.join()
    (pid,) = numbers(tmp_path / "notes", 1)
    time.sleep(0.2)
    assert said == ["first"]
    assert alive(pid)
    assert worker.ask("second") == "second"
    assert numbers(tmp_path / "notes", 1) == [pid]
    worker.close()
    assert gone([pid])


def test_a_forked_process_has_workers_of_its_own_that_end_with_it(tmp_path):
    code = (
        "import os, sys, time\nfrom synth.processes.worker import Worker\n"
        "kept = Worker(*sys.argv[1:])\nkept.ask('warm')\n"
        "if os.fork() == 0:\n"
        "    own = Worker(*sys.argv[1:])\n    own.ask('mine')\n    os._exit(0)\n"
        "os.wait()\ntime.sleep(600)\n"
    )
    script, notes = tmp_path / "odd.py", tmp_path / "notes"
    script.write_text(ODD)
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(script), str(notes), "idle"]
    )
    try:
        workers = numbers(notes, 2)
        assert gone(workers[:1]) != gone(workers[1:])  # the forked one's alone
        parent.kill()
        assert gone(workers)
    finally:
        parent.kill()
        parent.wait()


def test_where_the_kernel_does_not_tell_a_thread_looks(tmp_path):
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import os, sys, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    deaf = f"import sys; sys.platform = 'other'; from synth import leash; leash._tie(int(sys.argv[1])); leash._become([{str(script)!r}])"
    starter = (
        "import os, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', sys.argv[1], str(os.getpid())], start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, deaf], stdout=subprocess.PIPE, text=True
    )
    with parent.stdout:
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        assert gone([pid])


def test_whoever_comes_too_late_leaves(tmp_path):
    script = tmp_path / "late.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert (
        subprocess.run(
            [sys.executable, "-m", "synth.processes.leash", "1", str(script)],
            check=False,
        ).returncode
        == 1
    )
    assert not (tmp_path / "ran").exists()


def test_a_worker_that_does_not_read_or_floods_is_given_up(tmp_path):
    script = tmp_path / "odd.py"
    script.write_text(ODD)
    worker = Worker(str(script), str(tmp_path / "notes"), "idle", seconds=1.0)
    assert worker.ask("warm") == "warm"
    os.kill(worker._process.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert worker.ask("x" * 10_000_000) is None
    flooded, then = worker.ask("flood"), worker.ask("next")
    assert (flooded, then) in (
        ("flood", None),
        (None, "next"),
    )  # the flood came later, or at once
    assert worker.ask("again") == "again"
    assert time.monotonic() - started < 30
    worker.close()


def test_a_worker_that_never_gets_ready_has_a_deadline(tmp_path):
    from synth.core.errors import WrongUse

    script = tmp_path / "odd.py"
    script.write_text(ODD)
    with pytest.raises(WrongUse, match="not ready within 1 s"):
        Worker(
            str(script), str(tmp_path / "notes"), "loading", start_seconds=1.0
        ).ask("x")
    assert gone(numbers(tmp_path / "notes", 1))


def test_prints_before_it_is_ready_are_passed_over(tmp_path):
    script = tmp_path / "talks.py"
    script.write_text(
        "import os, sys\nfrom synth.processes.worker import serve\nprint('Hello')\nos.write(1, b'{}\\n')\n"
        "def answer(said):\n    os.write(2, b'x' * 1_000_000)\n    print('noise')\n    return said\nserve(answer)\n"
    )
    assert Pool(2, str(script), seconds=20).map(range(8)) == list(range(8))


def test_a_command_names_its_parent():
    assert leash.command("-m", "x")[-3:] == [str(os.getpid()), "-m", "x"]


CONFINED = {
    "sandbox": "from synth.sandbox.conversation import Talk\nTalk(60, 512, unsafe=False).hold('while True: pass', '')",
    "unsafe": "from synth.sandbox.conversation import Talk\nTalk(60, 512, unsafe=True).hold('while True: pass', '')",
    "algebra": (
        "import time\nfrom synth.verifiers.algebra import Algebra\nalgebra = Algebra(seconds=60.0)\n"
        "algebra.pool.ask({'answer': 'x', 'gold': 'x'})\nprint('asked', flush=True)\ntime.sleep(600)"
    ),
}


def children(pid: int) -> list[int]:
    """Processes that any thread of a process has started."""
    found = ""
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += " " + (task / "children").read_text()
    return [int(number) for number in found.split()]


@pytest.mark.parametrize("which", sorted(CONFINED))
def test_confined_processes_end_with_whoever_asked(which):
    parent = subprocess.Popen(
        [sys.executable, "-c", CONFINED[which]], stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        if which == "algebra":
            assert parent.stdout.readline() == b"asked\n"
        while (
            not (found := children(parent.pid)) and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        time.sleep(0.5)  # it is confined and computes
        assert found
        assert all(map(alive, found))
        for worker in found:
            os.kill(
                worker, signal.SIGSTOP
            )  # so that it does not see its input end
        parent.kill()
        assert gone(found)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
