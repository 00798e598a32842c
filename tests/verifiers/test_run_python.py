"""The sandbox: programs do what programs may, and nothing else; each attack is refused, ended, or left without effect."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from synth.core.errors import WrongUse
from synth.replies.fences import code_in
from synth.sandbox import conversation as _talk
from synth.sandbox import jail
from synth.verifiers.run_python import RunPython
from tests.verifiers.confinement import can_confine

pytestmark = pytest.mark.skipif(
    not can_confine(),
    reason="this machine cannot confine a program; then nothing is run",
)
# Each must end without "leak" in its output: by an exception, a signal, or a refusal.
ATTACKS = {
    "read a secret": "print('leak', open({secret!r}).read())",
    "read a secret by a link": "import os; os.symlink({secret!r}, '/tmp/l'); print('leak', open('/tmp/l').read())",
    "list a folder": "import os; print('leak', os.listdir({folder!r}))",
    "list home": "import os; print('leak', os.listdir('/root'))",
    "write a file": "open({folder!r} + '/new', 'w').write('x'); print('leak')",
    "change a file": "open({secret!r}, 'a').write('x'); print('leak')",
    "truncate a file": "import os; os.truncate({secret!r}, 0); print('leak')",
    "remove a file": "import os; os.remove({secret!r}); print('leak')",
    "rename a file": "import os; os.rename({secret!r}, {secret!r} + '2'); print('leak')",
    "change a mode": "import os; os.chmod({secret!r}, 0o777); print('leak')",
    "change an owner": "import os; os.chown({secret!r}, 1, 1); print('leak')",
    "change a time": "import os; os.utime({secret!r}, (0, 0)); print('leak')",
    "write to tmp": "open('/tmp/potstill-leak', 'w'); print('leak')",
    "write to shared memory": "open('/dev/shm/potstill-leak', 'w'); print('leak')",
    "the environment": "import os; assert 'CANARY' in os.environ; print('leak')",
    "the parent's environment": "import os; print('leak', open(f'/proc/{{os.getppid()}}/environ').read())",
    "own memory map": "print('leak', open('/proc/self/maps').read())",
    "loopback": "import socket; socket.create_connection(('127.0.0.1', {port})); print('leak')",
    "a datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port})); print('leak')",
    "a local socket": "import socket; socket.socket(socket.AF_UNIX).connect('/run/x'); print('leak')",
    "listen": "import socket; socket.create_server(('127.0.0.1', 0)); print('leak')",
    "fork": "import os; os.fork(); print('leak')",
    "fork bomb": "import os\nwhile True: os.fork(); print('leak')",
    "a shell": "import os; print('leak' if os.system('true') == 0 else '')",
    "another program": "import subprocess; subprocess.run(['/bin/true']); print('leak')",
    "become another program": "import os; os.execv('/bin/echo', ['echo', 'leak'])",
    "a worker": "import multiprocessing as m; p = m.Process(target=print); p.start(); print('leak')",
    "raw clone": "import ctypes; print('leak' if ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0) >= 0 else '')",
    "raw vfork": "import ctypes; print('leak' if ctypes.CDLL(None).syscall(58) >= 0 else '')",
    "raw clone3": "import ctypes; b = ctypes.create_string_buffer(88); print('leak' if ctypes.CDLL(None).syscall(435, b, 88) >= 0 else '')",
    "the x32 calls": "import ctypes; print('leak' if ctypes.CDLL(None).syscall(0x40000000 + 57) >= 0 else '')",
    "a signal to the parent": "import os; os.kill(os.getppid(), 0); print('leak')",
    "a signal to all": "import os; os.kill(-1, 0); print('leak')",
    "a signal to the group": "import os; os.kill(0, 0); print('leak')",
    "a signal by a descriptor": "import os; os.pidfd_open(os.getppid()); print('leak')",
    "trace the parent": "import ctypes, os; print('leak' if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0 else '')",
    "the parent's limits": "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1)); print('leak')",
    "the parent's priority": "import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 19); print('leak')",
    "more limits": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99)); print('leak')",
    "a new namespace": "import ctypes; print('leak' if ctypes.CDLL(None).unshare(0x10000000) == 0 else '')",
    "a mount": "import ctypes; print('leak' if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0) == 0 else '')",
    "a new root": "import os; os.chroot('/usr'); print('leak')",
    "another user": "import os; os.setuid(1); print('leak')",
    "a key ring": "import ctypes; print('leak' if ctypes.CDLL(None).syscall(250, 0, -3, 1) >= 0 else '')",
    "a kernel program": "import ctypes; print('leak' if ctypes.CDLL(None).syscall(321, 0, 0, 0) >= 0 else '')",
    "a ring of calls": "import ctypes; b = ctypes.create_string_buffer(120); print('leak' if ctypes.CDLL(None).syscall(425, 1, b) >= 0 else '')",
    "system memory": "import ctypes; print('leak' if ctypes.CDLL(None).shmget(1, 4096, 0o1600) >= 0 else '')",
    "outlive the parent": "import ctypes; print('leak' if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0 else '')",
    "1.5 GB": "x = bytearray(1_500_000_000); print('leak')",
    "a file in memory": "import os; f = os.memfd_create('x'); os.write(f, bytes(2 << 20)); os.write(f, b'x'); print('leak')",
    "100 files": "import os; [os.memfd_create('x') for _ in range(100)]; print('leak')",
    "leave early": "import sys; sys.exit(0)",
    "leave at once": "import os; os._exit(0)",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "secret").write_text("leak")
    listener = socket.create_server(("127.0.0.1", 0))
    yield {
        "secret": str(folder / "secret"),
        "folder": str(folder),
        "port": listener.getsockname()[1],
    }
    listener.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_gets_through(attack, place, monkeypatch):
    monkeypatch.setenv("CANARY", "leak")
    before = Path(place["secret"]).stat()
    found = RunPython(seconds=2).run(ATTACKS[attack].format(**place))
    after = Path(place["secret"]).stat()
    assert "leak" not in found.output
    assert (before.st_size, before.st_mode, before.st_mtime, before.st_uid) == (
        after.st_size,
        after.st_mode,
        after.st_mtime,
        after.st_uid,
    )
    assert [path.name for path in Path(place["folder"]).iterdir()] == ["secret"]
    if attack.startswith("leave"):
        assert found.status == "failed"


def test_honest_programs_run():
    code = (
        "import asyncio, collections, dataclasses, datetime, decimal, fractions, functools, heapq, itertools, json, math, random, re, statistics\n"
        "import threading\nout = []\nt = threading.Thread(target=lambda: out.append(1)); t.start(); t.join()\n"
        "async def f():\n    await asyncio.sleep(0)\n    return 2\nout.append(asyncio.run(f()))\n"
    )
    assert (
        RunPython()
        .run(code, "assert out == [1, 2] and math.comb(5, 2) == 10")
        .status
        == "passed"
    )
    assert RunPython().run("print('hello')").output == "hello"
    assert RunPython().verify("def f(x): return x", "assert f(1) == 2") is False
    assert RunPython().run("def f(:").error.startswith("SyntaxError")
    assert RunPython().run("print('é' * 3)").output == "é" * 3


def test_programs_that_do_not_end_are_ended_and_unknown():
    started = time.monotonic()
    for code in (
        "while True: pass",
        "import time; time.sleep(60)",
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
    ):
        assert RunPython(seconds=1).verify(code, "") is None
    assert time.monotonic() - started < 30  # the programs would take 60
    assert (
        RunPython(seconds=5).run("while True: print('x' * 10000)").status
        == "flood"
    )


def test_nothing_survives_its_parent(tmp_path):
    words = [
        sys.executable,
        "-c",
        "from synth.verifiers.run_python import RunPython; RunPython(seconds=30).run('import time; time.sleep(50)')",
    ]
    parent = subprocess.Popen(words)
    deadline = time.monotonic() + 10
    while (
        not (children := _children(parent.pid)) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    time.sleep(0.5)  # the child confines itself
    parent.kill()
    parent.wait()
    time.sleep(0.3)
    assert children
    assert not [pid for pid in children if _alive(pid)]


def _children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return (
        [int(word) for word in path.read_text().split()]
        if path.exists()
        else []
    )


def _alive(pid):
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            not in "ZX"
        )
    except OSError:
        return False


def test_where_it_cannot_confine_it_runs_nothing(monkeypatch, tmp_path):
    folder = Path(jail.__file__).parent
    for name in ("system_calls.py", "python_inside.py", "jail.py"):
        text = (folder / name).read_text()
        assert name != "jail.py" or "version < 1" in text
        (tmp_path / name).write_text(text.replace("version < 1", "True"))
    monkeypatch.setattr(
        _talk, "_START", _talk._START.replace(str(folder), str(tmp_path))
    )
    with pytest.raises(WrongUse, match="no sandbox"):
        RunPython().run(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert not (tmp_path / "ran").exists()
    assert not can_confine()
    assert (
        RunPython(unsafe_exec=True)
        .run(f"open({str(tmp_path / 'ran')!r}, 'w')")
        .status
        == "passed"
    )
    assert (tmp_path / "ran").exists()


def test_many_at_a_time():
    results = []
    threads = [
        threading.Thread(
            target=lambda n=n: results.append(
                RunPython().verify(f"x = {n}", f"assert x == {n}")
            )
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_code_in_replies():
    assert code_in("a\n```py\nx = 1\n```\nb\n```\ny = 2\n```") == "x = 1\ny = 2"
    assert code_in("```python\nx = 1") == "x = 1"
