"""A local model that hangs, floods, babbles or never loads: its worker is a script that does what it is asked to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

import synth
from synth.core.errors import Stopped, TeacherBusy
from synth.teachers import local
from synth.teachers.base import Settings, open_teacher
from tests.conftest import rest_long
from tests.processes.test_leash import alive, gone, numbers
from tests.teachers.test_local import request

# It answers one request after the other; a word that does harm does it once.
WORKER = """
import json, os, sys, time
notes, path = sys.argv[1:]
def say(value): os.write(1, json.dumps(value).encode() + b"\\n")
def first(word):
    if os.path.exists(notes + word): return False
    open(notes + word, "w").close()
    return True
with open(notes, "a") as file: file.write(f"{os.getpid()}\\n")
os.write(1, b"Welcome\\n{}\\n[1]\\n")
if "loading" in path: time.sleep(600)
say({"ready": True})
for line in sys.stdin:
    asked = json.loads(line)
    words = asked["body"]["messages"][-1]["content"]
    say({"begun": [asked["id"]]})
    if "hang" in words and first("hang"): time.sleep(600)
    if "compute" in words and first("compute"): 10 ** 10 ** 10
    if "errors" in words:
        for _ in range(100): os.write(2, b"x" * 100_000)
    if "babble" in words: os.write(1, b"babble\\n" * 10_000 + b"null\\n")
    if "forever" in words and first("forever"):
        while True: os.write(1, b"babble\\n" * 1000)
    message = {"role": "assistant", "content": words}
    say({"id": asked["id"], "reply": {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}})
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of models that are none; notes of the workers' numbers lie beside it."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    for name in ("well", "loading"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    real = local.leash.command
    monkeypatch.setattr(
        local.leash,
        "command",
        lambda *words: real(str(script), str(tmp_path / "notes"), words[-1]),
    )
    return tmp_path


def ask(place, *questions, timeout=1.0):
    """What each question brought: text or error."""

    async def work():
        teacher = open_teacher(
            f"local/{place / 'well'}", Settings(timeout=timeout)
        )
        try:
            return await asyncio.gather(
                *(teacher.ask(request(teacher, q)) for q in questions),
                return_exceptions=True,
            )
        finally:
            await teacher.close()

    found = asyncio.run(work())
    return [
        f"{each}" if isinstance(each, TeacherBusy) else each.completion.text
        for each in found
    ]


@pytest.mark.parametrize("harm", rest_long(["forever", "hang", "compute"]))
def test_a_request_that_hangs_is_a_timeout_and_the_others_are_answered(
    place, harm
):
    started = time.monotonic()
    said = ask(place, "a", harm, "b", "c" * 3_000_000)
    assert said[0] == "a"
    assert "timeout" in said[1]
    assert "--timeout" in said[1]
    assert (said[2], len(said[3])) == ("b", 3_000_000)
    assert time.monotonic() - started < 15
    workers = numbers(place / "notes", 2)
    assert len(workers) == 2
    assert gone(workers)


def test_floods_and_babble_block_nobody(place):
    assert ask(place, "errors", "babble", "errors babble", timeout=20) == [
        "errors",
        "babble",
        "errors babble",
    ]
    assert len(numbers(place / "notes", 1)) == 1


def test_a_model_that_never_loads_stops_the_run(place, monkeypatch):
    monkeypatch.setattr(local, "_LOAD_SECONDS", 0.5)
    run = synth.run(
        "cot",
        [{"question": "x"}],
        teacher=f"local/{place / 'loading'}",
        output=place / "out",
        timeout=0.1,
    )
    assert run.exit_code == 5
    assert "not loaded within" in run.stopped
    assert gone(numbers(place / "notes", 1))


def test_a_run_goes_on_after_a_request_that_hung(place):
    rows = [{"question": word} for word in ("a", "hang", "b")]
    run = synth.run(
        "cot",
        rows,
        teacher=f"local/{place / 'well'}",
        output=place / "out",
        timeout=1.0,
    )
    assert (run.counts["asked"], run.stopped) == (3, None)
    assert run.counts["failed"] == {}
    assert gone(numbers(place / "notes", 2))


def test_closing_waits_for_no_worker_that_hangs_or_loads(place):
    async def work(name, word):
        teacher = open_teacher(f"local/{place / name}", Settings())
        asking = asyncio.create_task(teacher.ask(request(teacher, word)))
        while not (place / "notes").exists():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        started = time.monotonic()
        await teacher.close()
        with pytest.raises((TeacherBusy, Stopped, asyncio.CancelledError)):
            await asyncio.wait_for(asking, 2)
        return time.monotonic() - started

    for name, word in (("well", "hang"), ("loading", "x")):
        assert asyncio.run(work(name, word)) < 3
        assert gone(numbers(place / "notes", 1))
        (place / "notes").unlink()


def test_a_run_that_is_killed_takes_its_local_model_along(place):
    code = (
        "import json, sys, synth\nfrom synth.teachers import local\nreal = local.leash.command\n"
        "local.leash.command = lambda *words: real(*sys.argv[1:3], words[-1])\n"
        "synth.run('cot', [{'question': 'hang'}], teacher=f'local/{sys.argv[3]}', output=sys.argv[4])\n"
    )
    words = [
        str(place / "worker.py"),
        str(place / "notes"),
        str(place / "well"),
        str(place / "out"),
    ]
    parent = subprocess.Popen([sys.executable, "-c", code, *words])
    workers = numbers(place / "notes", 1)
    time.sleep(0.3)
    assert all(map(alive, workers))
    parent.kill()
    parent.wait()
    assert gone(workers)
