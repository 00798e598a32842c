"""Small hostile programs, each after one thing that lies outside the sandbox, and every system call by its number."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from synth.core.errors import WrongUse
from synth.sandbox import conversation as _talk
from synth.sandbox import jail, system_calls
from synth.verifiers.run_python import RunPython
from tests.verifiers.confinement import can_confine

pytestmark = pytest.mark.skipif(
    not can_confine(),
    reason="this machine cannot confine a program; then nothing is run",
)
RAW = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\n"
X86 = os.uname().machine == "x86_64"
# What each wants; it must end without "leak" in its output. {victim} is another process, {file} a file, {folder} its folder,
# {port} a port of the loopback, {socket} a datagram socket in the folder, {abstract} one without a file.
PROBES = {
    # signals
    "owner signal to a process": "import fcntl, os, signal\nr, w = os.pipe()\nfcntl.fcntl(r, 8, {victim}); fcntl.fcntl(r, 10, 9)\nfcntl.fcntl(r, 4, os.O_ASYNC); os.write(w, b'x'); print('leak')",
    "owner signal by structure": "import fcntl, os, struct\nr, w = os.pipe()\nfcntl.fcntl(r, 15, struct.pack('ii', 1, {victim})); print('leak')",
    "owner signal to a group": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, -os.getppid()); print('leak')",
    "signal number of a descriptor": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 10, 9); print('leak')",
    "asynchronous flag": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETFL, 0x2000); print('leak')",
    "asynchronous by ioctl": "import fcntl, os, struct\nr, w = os.pipe()\nfcntl.ioctl(r, 0x5452, struct.pack('i', 1)); print('leak')",
    "owner by ioctl": "import fcntl, os, struct\nr, w = os.pipe()\nfcntl.ioctl(r, 0x8901, struct.pack('i', {victim})); print('leak')",
    "process group by ioctl": "import fcntl, os, struct\nr, w = os.pipe()\nfcntl.ioctl(r, 0x8902, struct.pack('i', {victim})); print('leak')",
    "queued signal": RAW + "b = ctypes.create_string_buffer(128)\nprint('leak' if libc.syscall(129, {victim}, 9, b) == 0 else '')",
    "signal to a thread of another": "import os\nimport ctypes\nprint('leak' if ctypes.CDLL(None).tgkill({victim}, {victim}, 0) == 0 else '')",
    "the group of the parent": "import os; os.killpg(os.getpgid(os.getppid()), 0); print('leak')",
    "lease that signals": "import fcntl, os\nf = os.open(os.__file__, os.O_RDONLY)\nfcntl.fcntl(f, 1024, 0); print('leak')",
    "notices of a folder": "import fcntl, os\nf = os.open(os.path.dirname(os.__file__), os.O_RDONLY)\nfcntl.fcntl(f, 1026, 2); print('leak')",
    # files
    "size of a secret": "import os; print('leak', os.stat({file!r}).st_size)",
    "size by a link's call": "import os; print('leak', os.lstat({file!r}).st_size)",
    "whether it may be read": "import os; print('leak' if os.access({file!r}, os.R_OK) else '')",
    "where a link leads": "import os; print('leak', os.readlink('/proc/self/exe'))",
    "a handle without reading": "import os; os.open({file!r}, os.O_PATH); print('leak')",
    "up from an open folder": "import os\nd = os.open(os.path.dirname(os.__file__), os.O_RDONLY)\nprint('leak', os.open('../' * 30 + {file!r}[1:], os.O_RDONLY, dir_fd=d))",
    "by a handle": RAW + "b = ctypes.create_string_buffer(136)\nm = ctypes.c_int()\nb[0] = 128\nprint('leak' if libc.name_to_handle_at(-100, {file!r}.encode(), b, ctypes.byref(m), 0) == 0 else '')",
    "a nameless file": "import os; os.open('/tmp', os.O_TMPFILE | os.O_RDWR); print('leak')",
    "standard output opened anew": "import os; open('/proc/self/fd/1', 'w'); print('leak')",
    "attribute of a library file": "import os; os.setxattr(os.__file__, 'user.x', b'1'); print('leak')",
    "attributes of any file": "import os; print('leak', os.listxattr({file!r}))",
    "flags of a library file": "import fcntl, os\nf = os.open(os.__file__, os.O_RDONLY)\nb = bytearray(8); fcntl.ioctl(f, 0x80086601, b); print('leak')",
    "time of a library file": "import os; os.utime(os.__file__); print('leak')",
    "time by descriptor": "import os; f = os.open(os.__file__, os.O_RDONLY); os.utime(f, (0, 0)); print('leak')",
    "mode by descriptor": "import os; f = os.open(os.__file__, os.O_RDONLY); os.fchmod(f, 0o777); print('leak')",
    "owner by descriptor": "import os; f = os.open(os.__file__, os.O_RDONLY); os.fchown(f, 1, 1); print('leak')",
    "a pipe with a name": "import os; os.mkfifo({folder!r} + '/fifo'); print('leak')",
    "a folder": "import os; os.mkdir({folder!r} + '/new'); print('leak')",
    "a second name": "import os; os.link({file!r}, {folder!r} + '/second'); print('leak')",
    "lock a library file": "import fcntl, os\nf = os.open(os.__file__, os.O_RDONLY)\nfcntl.flock(f, fcntl.LOCK_EX); print('leak')",
    "all processes": "import os; print('leak', os.listdir('/proc'))",
    "memory of the parent": "import os; open(f'/proc/{{os.getppid()}}/mem', 'rb'); print('leak')",
    "own memory by a file": "open('/proc/self/mem', 'r+b'); print('leak')",
    "command line of another": "print('leak', open('/proc/{victim}/cmdline').read())",
    "a temporary file": "import tempfile; tempfile.TemporaryFile(); print('leak')",
    "shared memory of Python": "from multiprocessing import shared_memory as s; s.SharedMemory(create=True, size=10); print('leak')",
    # sockets
    "pair of datagrams to a name": "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'leak', {socket!r}); print('leak')",
    "pair of datagrams, no file": "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'leak', b'\\0' + {abstract!r}.encode()); print('leak')",
    "pair of streams": "import socket; socket.socketpair(); print('leak')",
    "packets": "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); print('leak')",
    "raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('leak')",
    "kernel's socket": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print('leak')",
    "virtual machine's socket": "import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); print('leak')",
    "crypto socket": "import socket; socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET); print('leak')",
    "name server": "import socket; print('leak', socket.getaddrinfo('localhost', 1, proto=17) and socket.gethostbyname('example.org'))",
    "a descriptor to whoever listens": "import os, socket\nfor n in range(64):\n    try: s = socket.socket(fileno=os.dup(n))\n    except OSError: continue\n    socket.send_fds(s, [b'x'], [n]); print('leak')",
    "web request": "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/', timeout=1); print('leak')",
    # memory
    "file in memory": "import os; os.memfd_create('x'); print('leak')",
    "secret memory": RAW + "print('leak' if libc.syscall(447, 0) >= 0 else '')",
    "locked memory": "import ctypes; print('leak' if ctypes.CDLL(None).mlockall(3) == 0 else '')",
    "huge pages": "import mmap; mmap.mmap(-1, 1 << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000); print('leak')",
    "growing list": "x = [0]\nwhile True: x += x\nprint('leak')",
    "long power": "x = 1 << (1 << 40); print('leak')",
    "bigger pipes": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(w, 1031, 1 << 20); print('leak')",
    "pages of others": RAW + "b = ctypes.create_string_buffer(8)\nprint('leak' if libc.process_vm_readv({victim}, b, 0, b, 0, 0) >= 0 else '')",
    "page faults": RAW + "print('leak' if libc.syscall(323, 1) >= 0 else '')",
    "merged pages": "import mmap; m = mmap.mmap(-1, 4096); m.madvise(12); print('leak')",
    # processes and threads
    "threads without end": "import _thread, time\nwhile True: _thread.start_new_thread(time.sleep, (9,))\nprint('leak')",
    "small threads": "import threading, time\nthreading.stack_size(32768)\nfor n in range(500): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\nprint('leak')",
    "a process with its own memory": "import os; os.posix_spawn('/bin/true', ['true'], {{}}); print('leak')",
    "a child with the parent's memory": RAW + "print('leak' if libc.syscall(56, 0x4111, 0, 0, 0, 0) >= 0 else '')" if X86 else "raise SystemExit",
    "a thread in a new namespace": RAW + "print('leak' if libc.syscall(56, 0x3d0f00 | 0x10000000, 0, 0, 0, 0) >= 0 else '')" if X86 else "raise SystemExit",
    "a descriptor of another": RAW + "print('leak' if libc.syscall(438, 3, 0, 0) >= 0 else '')",
    "a pool of processes": "import concurrent.futures as c; print('leak', list(c.ProcessPoolExecutor(1).map(abs, [1])))",
    "a terminal": "import pty; pty.openpty(); print('leak')",
    "typing into a terminal": "import fcntl; fcntl.ioctl(0, 0x5412, b'x'); print('leak')",
    # the system
    "limits of this process": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); print('leak')",
    "limits of another": "import resource; print('leak', resource.prlimit({victim}, resource.RLIMIT_CPU))",
    "niceness": "import os; os.nice(5); print('leak')",
    "priority of another": "import os; os.setpriority(os.PRIO_PROCESS, {victim}, 19); print('leak')",
    "scheduler of another": "import os; os.sched_setscheduler({victim}, 0, os.sched_param(0)); print('leak')",
    "cores of another": "import os; print('leak', os.sched_getaffinity({victim}))",
    "cores": "import os; os.sched_setaffinity(0, [0]); print('leak')",
    "personality": RAW + "print('leak' if libc.personality(0xffffffff) >= 0 else '')",
    "name of the machine": "import socket; socket.sethostname('leak'); print('leak')",
    "clock": "import time; time.clock_settime(time.CLOCK_REALTIME, time.time()); print('leak')",
    "everything to disk": RAW + "print('leak' if libc.syncfs(1) == 0 else '')",
    "kernel's log": RAW + "print('leak' if libc.klogctl(10, 0, 0) >= 0 else '')",
    "counters of the processor": RAW + "b = ctypes.create_string_buffer(128)\nprint('leak' if libc.syscall(298, b, 0, -1, -1, 0) >= 0 else '')",
    "a second filter that listens": RAW + "print('leak' if libc.syscall(317, 1, 8, 0) >= 0 else os.strerror(ctypes.get_errno()))",
    "to be traced": "import ctypes; print('leak' if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 else '')",
    "to be dumped": "import ctypes; print('leak' if ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0 else '')",
    "privileges": RAW + "h = (ctypes.c_int * 2)(0x20080522, 0)\nd = (ctypes.c_uint * 6)(*[-1] * 6)\nprint('leak' if libc.capset(h, d) == 0 else '')",
    "watch files": "import ctypes; print('leak' if ctypes.CDLL(None).inotify_init1(0) >= 0 else '')",
    # what says that a program passed
    "status 0": "import os; os._exit(0)",
    "the status of a refusal": "import os, sys; sys.stderr.write('no sandbox: none\\n'); sys.stderr.flush(); os._exit(97)",
    "an exit in the last line": "raise SystemExit(0)",
    "words of its constants": "import os, sys\nprint([c for c in sys._getframe().f_code.co_consts], flush=True); os._exit(0)",
    "words of all frames": "import os, sys\nf = sys._getframe()\nwhile f:\n    for v in list(f.f_locals.values()):\n        if isinstance(v, (bytes, str)): os.write(1, v if isinstance(v, bytes) else v.encode())\n    f = f.f_back\nos._exit(0)",
    "echo of every descriptor": "import os\nfor n in range(3, 64):\n    try: os.write(n, b'R'); os.write(n, os.read(n, 99))\n    except OSError: pass\nos._exit(0)",
    "an exit that a test meets": "import os\nclass X:\n    def __eq__(self, other): os._exit(0)\nx = X()",
    "a descriptor read by a test": "import os\nclass X:\n    def __eq__(self, other):\n        for n in range(3, 64):\n            try: os.write(n, os.read(n, 16))\n            except OSError: pass\n        os._exit(0)\nx = X()",
    "steps over the tests": "import sys\ndef trace(frame, event, argument):\n    if frame.f_code.co_filename == 'tests.py': raise SystemExit(0)\n    return trace\nsys.settrace(trace)\nx = 2",
    "a print of its own": "import builtins\nbuiltins.print = lambda *a, **k: None\nx = 2",
}  # fmt: skip


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    (folder / "file").write_text("leak")
    (folder / "file").chmod(0o600)
    victim = subprocess.Popen(
        [sys.executable, "-c", "input('ready')"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    # While it begins it may wait for the disk.
    assert victim.stdout.read(5) == b"ready"
    listener = socket.create_server(("127.0.0.1", 0))
    named, nameless = (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)
    )
    place, abstract = (
        os.path.relpath(folder / "socket"),
        f"potstill-test-{os.getpid()}",
    )
    named.bind(place)
    nameless.bind(b"\0" + abstract.encode())
    for end in (listener, named, nameless):
        end.setblocking(False)
    names = {
        "victim": victim.pid,
        "file": str(folder / "file"),
        "folder": str(folder),
        "port": listener.getsockname()[1],
    }
    yield (
        {**names, "socket": str(folder / "socket"), "abstract": abstract},
        victim,
        (listener, named, nameless),
    )
    victim.kill()
    victim.wait()
    for end in (listener, named, nameless):
        end.close()


def state(names):
    """What a program could have changed: files, the library's own, processes, this process."""
    file, library = Path(names["file"]).stat(), Path(os.__file__).stat()
    return {
        "folder": sorted(path.name for path in Path(names["folder"]).iterdir()),
        "file": (
            file.st_size,
            file.st_mode,
            file.st_mtime_ns,
            file.st_uid,
            file.st_nlink,
        ),
        "library": (
            library.st_mode,
            library.st_mtime_ns,
            library.st_uid,
            os.listxattr(os.__file__),
        ),
        "victim": (
            Path(f"/proc/{names['victim']}/stat")
            .read_text()
            .rpartition(")")[2]
            .split()[0]
            in "SRD",
            os.getpriority(os.PRIO_PROCESS, names["victim"]),
            os.sched_getaffinity(names["victim"]),
            resource.prlimit(names["victim"], resource.RLIMIT_CPU),
            Path(f"/proc/{names['victim']}/limits").read_text(),
        ),
        "own": (
            Path("/proc/self/limits").read_text(),
            os.sched_getaffinity(0),
            socket.gethostname(),
            os.getpgid(0),
        ),
    }


@pytest.mark.parametrize("probe", PROBES)
def test_no_probe_reaches_out(probe, outside, capfd):
    names, victim, sockets = outside
    before = state(names)
    found = RunPython(seconds=2).run(
        PROBES[probe].format(**names),
        "assert x == 3" if "x" in probe else "raise AssertionError",
    )
    assert "leak" not in found.output
    assert found.status != "passed"
    assert victim.poll() is None
    assert state(names) == before
    for end in sockets:
        with pytest.raises(BlockingIOError):
            end.recv(9) if end.type == socket.SOCK_DGRAM else end.accept()
    assert capfd.readouterr() == ("", "")


def test_there_are_enough_probes():
    assert len(PROBES) >= 40


def test_asked_for_more_threads_than_allowed_a_program_ends():
    assert (
        RunPython().run(PROBES["small threads"].replace("{{", "{")).status
        == "threads"
    )
    few = "import threading\nt = [threading.Thread(target=len, args=('x',)) for _ in range(300)]\nfor x in t: x.start()\nfor x in t: x.join()"
    assert RunPython().run(few).status == "passed"


def test_threads_that_cannot_be_counted_are_none(monkeypatch, tmp_path):
    folder = Path(jail.__file__).parent
    for name in ("system_calls.py", "python_inside.py", "jail.py"):
        text = (folder / name).read_text()
        assert name != "system_calls.py" or "LISTEN = 8" in text
        (tmp_path / name).write_text(
            text.replace("LISTEN = 8", "LISTEN = 1 << 30")
        )
    monkeypatch.setattr(
        _talk, "_START", _talk._START.replace(str(folder), str(tmp_path))
    )
    found = RunPython().run(
        "import threading\nthreading.Thread(target=print).start()"
    )
    assert (found.status, found.error) == (
        "failed",
        "RuntimeError: can't start new thread",
    )
    assert RunPython().run("x = 1", "assert x").status == "passed"


# Every call, with nothing and with another process's number as its first argument. Left out are those that end or hang a program.
WALK = (
    RAW
    + """
import json
found = {{}}
for number in range({most}):
    if number in {without}: continue
    for first in (0, {victim}):
        ctypes.set_errno(0)
        done = libc.syscall(number, ctypes.c_long(first), *[ctypes.c_long(0)] * 5)
        found.setdefault(number, []).append(ctypes.get_errno() if done < 0 else 0)
print(json.dumps(found))
"""
)
# uretprobe and uprobe: newer kernels answer these without asking a filter, with SIGILL outside a probe.
UNFILTERED = (335, 336) if X86 else ()
ENDS_OR_HANGS = (
    "rt_sigreturn",
    "pause",
    "exit",
    "exit_group",
    "select",
    "pselect6",
    "ppoll",
    "rt_sigsuspend",
    "close",
    "brk",
    "restart_syscall",
)


def test_every_system_call_by_its_number(outside):
    names, victim, _ = outside
    machine = system_calls.this_machine()
    without = [
        *UNFILTERED,
        *(
            machine.numbers[name]
            for name in ENDS_OR_HANGS
            if name in machine.numbers
        ),
    ]
    before = state(names)
    program = WALK.format(most=512, without=without, victim=victim.pid)
    found = RunPython().run(program)
    assert found.status == "passed", found
    answers = {
        int(number): tuple(errors)
        for number, errors in json.loads(found.output.splitlines()[-1]).items()
    }
    assert len(answers) == 512 - len(without)
    listed = set(machine.numbers.values())
    refused = {(errno.EPERM, errno.EPERM), (errno.ENOSYS, errno.ENOSYS)}
    assert not {
        number: errors
        for number, errors in answers.items()
        if number not in listed and errors not in refused
    }
    assert not [
        name
        for name in ("kill", "tgkill", "prlimit64")
        if answers[machine.numbers[name]][1] != errno.EPERM
    ]
    for number in UNFILTERED:
        assert (
            RunPython()
            .run(
                RAW
                + f"print('leak' if libc.syscall({number}, 0, 0, 0, 0, 0, 0) >= 0 else '')"
            )
            .output.strip()
            == ""
        )
    assert victim.poll() is None
    assert state(names) == before


@pytest.mark.skipif(
    not X86, reason="only there two kinds of numbers lead to one kernel"
)
def test_every_x32_number_ends_the_program():
    walk = (
        f"import os, sys\nsys.path.insert(0, {str(Path(jail.__file__).parent)!r})\nimport system_calls, jail\n"
        "libc, machine, ends = jail.library(), system_calls.this_machine(), {}\njail.gain_nothing(libc)\n"
        "program = system_calls.filter_program(machine, 1, threads=False)\n"
        "for number in range(512):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        if jail.install(libc, machine, program, 1): os._exit(3)\n"
        "        libc.syscall(0x40000000 + number, 0, 0, 0, 0, 0, 0)\n"
        "        os._exit(0)\n"
        "    end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "    ends[end] = ends.get(end, 0) + 1\n"
        "print(ends)"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", walk],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str({-signal.SIGSYS: 512})


@pytest.mark.skipif(not X86, reason="a door of this architecture")
def test_the_door_of_32_bit_programs_is_shut():
    # mov eax, 20 (getpid); int 0x80; ret
    code = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nprint('leak', f())"
    )
    found = RunPython().run(code)
    assert found.status == "failed"
    assert not found.output


def verdict(program, machine, number, *arguments):
    """What the kernel would do: the filter run over one call."""
    words = {0: number, 4: machine.audit} | {
        16 + 8 * n: a & 0xFFFFFFFF for n, a in enumerate(arguments)
    }
    words |= {20 + 8 * n: a >> 32 & 0xFFFFFFFF for n, a in enumerate(arguments)}
    place, held = 0, 0
    while True:
        code, value, yes, no = program[place]
        assert 0 <= yes < 256
        assert 0 <= no < 256
        if code == 0x06:
            return value
        if code == 0x20:
            held = words.get(value, 0)
        elif code == 0x54:
            held &= value
        else:
            holds = {
                0x15: held == value,
                0x35: held >= value,
                0x45: bool(held & value),
            }[code]
            place += yes if holds else no
        place += 1


# The numbers that both lists of calls have under these names; `asm-generic/unistd.h` and `unistd_64.h` of Linux.
KNOWN = {
    "x86_64": {"read": 0, "write": 1, "openat": 257, "futex": 202, "clone": 56, "mmap": 9, "execve": 59, "socket": 41, "kill": 62, "ptrace": 101, "memfd_create": 319, "io_uring_setup": 425, "fchmodat": 268, "setxattr": 188, "sendmsg": 46},
    "aarch64": {"read": 63, "write": 64, "openat": 56, "futex": 98, "clone": 220, "mmap": 222, "execve": 221, "socket": 198, "kill": 129, "ptrace": 117, "memfd_create": 279, "io_uring_setup": 425, "fchmodat": 53, "setxattr": 5, "sendmsg": 211},
}  # fmt: skip
NEVER = (
    "execve",
    "socket",
    "ptrace",
    "memfd_create",
    "io_uring_setup",
    "fchmodat",
    "setxattr",
    "sendmsg",
)
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000


@pytest.mark.parametrize("name", sorted(system_calls.MACHINES))
def test_the_list_of_each_architecture(name):
    machine, own = system_calls.MACHINES[name], 4711
    program = system_calls.filter_program(machine, own, threads=True)
    numbers = KNOWN[name]
    for call in NEVER:
        assert verdict(program, machine, numbers[call], 0, 0, 0) == ERROR | 1, (
            call
        )
    assert verdict(program, machine, numbers["read"], 0, 0, 0) == ALLOW
    assert verdict(program, machine, numbers["write"], 0, 0, 0) == ALLOW
    assert verdict(program, machine, numbers["kill"], own, 9) == ALLOW
    assert verdict(program, machine, numbers["kill"], own + 1, 9) == ERROR | 1
    assert verdict(program, machine, numbers["kill"], -own, 9) == ERROR | 1
    assert verdict(program, machine, numbers["clone"], 0x3D0F00) == ALLOW
    assert (
        verdict(program, machine, numbers["clone"], 0x3D0F00 | 0x20000)
        == ERROR | 1
    )
    assert verdict(program, machine, numbers["clone"], 17) == ERROR | 1
    without = system_calls.filter_program(machine, own, threads=False)
    assert (
        verdict(without, machine, numbers["clone"], 0x3D0F00)
        == ERROR | errno.EAGAIN
    )
    assert (
        verdict(
            program,
            machine,
            numbers["openat"],
            0,
            0,
            os.O_RDONLY | os.O_CLOEXEC,
        )
        == ALLOW
    )
    for flags in (
        os.O_WRONLY,
        os.O_RDWR,
        os.O_CREAT,
        os.O_TRUNC,
        os.O_APPEND,
        os.O_PATH,
    ):
        assert (
            verdict(program, machine, numbers["openat"], 0, 0, flags)
            == ERROR | 1
        ), flags
        if name == "x86_64":
            assert verdict(program, machine, 2, 0, flags) == ERROR | 1, flags
    assert verdict(program, machine, numbers["mmap"], 0, 0, 0, 0x22) == ALLOW
    assert (
        verdict(program, machine, numbers["mmap"], 0, 0, 0, 0x40022)
        == ERROR | 1
    )
    assert (
        verdict(program, machine, numbers["futex"], 0, 9 | 128 | 256) == ALLOW
    )
    assert (
        verdict(program, machine, numbers["futex"], 0, 12) == ERROR | 1
    )  # one that inherits a priority
    limits = machine.numbers["prlimit64"]
    assert verdict(program, machine, limits, 0, 7, 0, 0) == ALLOW
    assert verdict(program, machine, limits, own, 7, 0, 0) == ALLOW
    assert verdict(program, machine, limits, own, 7, 1 << 40, 0) == ERROR | 1
    assert verdict(program, machine, limits, own + 1, 7, 0, 0) == ERROR | 1
    control = machine.numbers["fcntl"]
    for number in range(1100):
        allowed = number in (0, 1, 2, 3, 4, 1030)
        assert (
            verdict(program, machine, control, 0, number, 0) == ALLOW
        ) is allowed, number
    assert verdict(program, machine, control, 0, 4, os.O_NONBLOCK) == ALLOW
    assert (
        verdict(program, machine, control, 0, 4, os.O_NONBLOCK | 0x2000)
        == ERROR | 1
    )
    listed = set(machine.numbers.values())
    assert all(
        verdict(program, machine, n) in (ERROR | 1, ERROR | 38)
        for n in range(2048)
        if n not in listed
    )
    assert verdict(program, machine, 0x40000000 + 39) == KILL
    other = next(m for m in system_calls.MACHINES.values() if m is not machine)
    assert verdict(program, other, 0) == KILL


def test_an_unknown_architecture_is_refused_by_name(monkeypatch, tmp_path):
    folder = Path(jail.__file__).parent
    for name in ("system_calls.py", "python_inside.py", "jail.py"):
        text = (folder / name).read_text()
        assert name == "jail.py" or "os.uname().machine" in text
        (tmp_path / name).write_text(
            text.replace("os.uname().machine", "'riscv64'")
        )
    monkeypatch.setattr(
        _talk, "_START", _talk._START.replace(str(folder), str(tmp_path))
    )
    with pytest.raises(
        WrongUse,
        match="no list of system calls for riscv64, only for x86_64 and aarch64",
    ):
        RunPython().run("print(1)")


@pytest.mark.parametrize("version", range(1, 9))
def test_landlock_is_asked_for_what_its_version_has(version, monkeypatch):
    asked = []

    def syscall(number, *arguments):
        if arguments and arguments[0] is None:
            return version
        if number == 444:
            asked.append(bytes(arguments[0].raw[: arguments[1]]))
            return os.open("/", os.O_RDONLY)
        return 0

    libc = type("Libc", (), {"syscall": staticmethod(syscall)})
    jail.hide_files(libc, ["/usr/lib"])
    files = [
        int.from_bytes(asked[0][n : n + 8], sys.byteorder)
        for n in range(0, len(asked[0]), 8)
    ]
    assert files[0].bit_length() == {1: 13, 2: 14, 3: 15, 4: 15}.get(
        version, 16
    )
    assert files[1:] == {4: [3], 5: [3]}.get(
        version, [] if version < 4 else [3, 3]
    )


def test_this_kernel_keeps_signals_and_sockets_inside_where_it_can():
    """Landlock alone, without the list of calls: the second lock behind the first."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.syscall(444, None, 0, 1) < 6:
        pytest.skip("a kernel before 6.12")
    name = b"\0potstill-scope-" + str(os.getpid()).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        child = os.fork()
        if not child:
            done = 0
            jail.gain_nothing(libc)
            jail.hide_files(libc, ["/usr/lib"])
            for attempt in (
                lambda: os.kill(os.getppid(), 0),
                lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(
                    b"x", name
                ),
            ):
                try:
                    attempt()
                except PermissionError:
                    done += 1
            os._exit(done)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


HONEST = {
    "numbers": "from decimal import Decimal as D, getcontext\nfrom fractions import Fraction as F\nimport math, cmath, statistics, random\ngetcontext().prec = 60\nrandom.seed(1)\nx = D(2).sqrt() > 1 and F(1, 3) + F(1, 6) == F(1, 2) and math.comb(50, 25) and statistics.mean([1, 2]) and random.random() < 1 and cmath.sqrt(-1) == 1j",
    "texts": "import re, string, textwrap, json, csv, io, unicodedata, difflib, hashlib, base64, zlib, secrets, uuid\nw = csv.writer(io.StringIO()); w.writerow([1])\nx = re.sub('a+', 'b', 'caat') == 'cbt' and json.loads('[1]') == [1] and hashlib.sha256(b'').hexdigest()[:4] == 'e3b0' and zlib.decompress(zlib.compress(b'x')) == b'x' and uuid.uuid4() and secrets.token_hex(4)",
    "times": "import datetime, time, calendar, zoneinfo\nd = datetime.datetime(2024, 2, 29, tzinfo=zoneinfo.ZoneInfo('Europe/Amsterdam'))\ntime.sleep(0.01)\nx = (d + datetime.timedelta(days=1)).month == 3 and calendar.isleap(2024) and d.strftime('%Y') == '2024'",
    "containers": "import collections, heapq, bisect, itertools, functools, dataclasses, enum, typing, copy, array, queue, operator, pickle\n@dataclasses.dataclass(order=True)\nclass P:\n    n: int = 0\n@functools.lru_cache(None)\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nx = f(80) == 23416728348467685 and pickle.loads(pickle.dumps(P(3))) == P(3) and copy.deepcopy([P(1)]) == [P(1)] and collections.Counter('aab')['a'] == 2",
    "recursion": "import sys\nsys.setrecursionlimit(20000)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nx = f(10000) == 10000",
    "threads": "import threading, concurrent.futures as c, queue\nq = queue.Queue(); lock = threading.Lock()\nthreading.Thread(target=q.put, args=(1,)).start()\nwith c.ThreadPoolExecutor(16) as pool: s = sum(pool.map(lambda n: n * n, range(100)))\nx = q.get(timeout=5) == 1 and s == 328350",
    "many threads": "import threading\nout = []\ndef work(n):\n    out.append(sum(len(str(i)) for i in range(2000)))\nb = threading.Barrier(40)\nts = [threading.Thread(target=lambda n=n: (b.wait(9), work(n))) for n in range(40)]\nfor t in ts: t.start()\nfor t in ts: t.join()\nx = len(out) == 40",
    "event loop": "import asyncio\nasync def one(n):\n    await asyncio.sleep(0.01)\n    return n\nasync def main(): return await asyncio.gather(*[one(n) for n in range(5)], asyncio.to_thread(len, 'abc'))\nx = asyncio.run(main()) == [0, 1, 2, 3, 4, 3] and asyncio.run(main())",
    "alarm": "import signal, time\ndef ring(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, ring); signal.setitimer(signal.ITIMER_REAL, 0.05)\ntry: time.sleep(5)\nexcept TimeoutError: x = True",
    "database": "import sqlite3\nd = sqlite3.connect(':memory:'); d.executescript('create table t (n); insert into t values (1), (2)')\nx = d.execute('select sum(n) from t').fetchone() == (3,)",
    "tests of its own": "import unittest, doctest, io\nclass T(unittest.TestCase):\n    def test_one(self): self.assertEqual(1, 1)\nx = unittest.TextTestRunner(stream=io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromTestCase(T)).wasSuccessful()",
    "a main of its own": "x = False\ndef main():\n    global x\n    x = True\nif __name__ == '__main__': main()",
    "output": "import sys, logging, contextlib, io\nlogging.basicConfig(); logging.warning('so')\nwith contextlib.redirect_stdout(io.StringIO()) as out: print('in')\nprint('y' * 70000); x = out.getvalue() == 'in\\n'",
    "traceback": "import traceback, inspect, warnings\nwarnings.warn('so')\ntry: 1 / 0\nexcept ZeroDivisionError: x = 'ZeroDivisionError' in traceback.format_exc()",
    "paths that are not there": "import os, pathlib\nx = not os.path.exists('/nowhere/a') and not pathlib.Path('b').is_file() and os.path.join('a', 'b') == 'a/b' and os.cpu_count() and os.path.isdir(os.path.dirname(os.__file__))",
}  # fmt: skip


@pytest.mark.parametrize("kind", HONEST)
def test_ordinary_programs_run(kind):
    found = RunPython(seconds=10).run(HONEST[kind], "assert x")
    assert found.status == "passed", found


def test_nothing_is_left_when_a_program_outlives_its_time():
    def open_descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    def children():
        return (
            Path(f"/proc/self/task/{threading.get_native_id()}/children")
            .read_text()
            .split()
        )

    RunPython().run("pass")
    descriptors, processes = open_descriptors(), children()
    files = set(Path(tempfile.gettempdir()).iterdir())
    for code in (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n1 / 0",
        "import signal, time\n[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]\ntime.sleep(60)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import os\nos.closerange(0, 64)\nwhile True: pass",
        "import atexit, time\natexit.register(time.sleep, 60)",
        "class X:\n    def __del__(self): __import__('time').sleep(60)\nx = X()",
    ):
        started = time.monotonic()
        RunPython(seconds=0.5).run(code)
        assert time.monotonic() - started < 10
    assert open_descriptors() <= descriptors
    assert set(children()) <= set(processes)
    assert not [
        path
        for path in Path(tempfile.gettempdir()).iterdir()
        if path not in files and "potstill" in path.name
    ]


def test_results_that_lie_cost_at_most_their_own_row():
    liars = {
        "class X(str):\n    def __str__(self): raise SystemExit(0)\n    def __repr__(self): return 'x' * 10**9\nans = X('1')": "failed",
        "class X:\n    def __repr__(self): return 7\ndef solution(): return X()": "failed",
        "class X(int):\n    def __repr__(self): return '42'\nans = X(1)": "passed",
        "class X:\n    def __reduce__(self): return (print, ('leak',))\nans = X()": "passed",
        "raise type('E' * 100000, (Exception,), {'__str__': lambda s: 'x' * 900000})()": "failed",
        "class E(Exception):\n    def __str__(self): raise self\nraise E": "failed",
        "ans = '9' * 100000": "passed",
    }
    for code, status in liars.items():
        said, found = RunPython(seconds=3).answer(code)
        assert found.status == status, (code, found.status, found.error)
        assert len(said) <= 200
        assert len(found.error) <= 300
        assert len(found.output) <= jail.MOST_OUTPUT + (1 << 17)


def test_a_limit_that_is_none_is_refused():
    from synth.filters.program_answer import ProgramAnswer
    from synth.filters.run_python import RunPython as Filter
    from synth.filters.run_sql import RunSql

    for part in (RunPython, Filter, ProgramAnswer, RunSql):
        for seconds in (0, -1, float("nan"), float("inf"), 10**9, "5", True):
            with pytest.raises(WrongUse, match="seconds"):
                part(seconds=seconds)
    for part in (Filter, ProgramAnswer):
        for workers in (0, -1, 10**6):
            with pytest.raises(WrongUse, match="workers"):
                part(workers=workers)
    with pytest.raises(WrongUse, match="megabytes"):
        Filter(megabytes=-1)
    assert RunPython(seconds=1.5).run("pass").status == "passed"


def test_computer_algebra_is_confined_too():
    from synth.verifiers.algebra import Algebra

    algebra = Algebra(seconds=60)
    assert algebra.verify(r"\frac{\sqrt{8}}{2}", r"\sqrt{2}")
    worker = algebra.pool._idle.get()
    filters = [
        line.split()[1]
        for line in Path(f"/proc/{worker._process.pid}/status")
        .read_text()
        .splitlines()
        if line.startswith("Seccomp_filters")
    ]
    own = [
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("Seccomp_filters")
    ]
    assert int(filters[0]) == int(own[0]) + 1
    worker.close()


def test_a_program_cannot_keep_the_outer_side_busy():
    for code, status in (
        ("import os\nwhile True: os.write(1, b'x')", ("flood", "timeout")),
        (
            "import _thread\nwhile True:\n    try: _thread.start_new_thread(len, ('x',))\n    except RuntimeError: pass",
            ("memory", "timeout", "threads", "failed"),
        ),
    ):
        before = time.process_time()
        assert RunPython(seconds=2).run(code).status in status
        assert time.process_time() - before < 0.5


def test_without_confinement_what_a_program_started_ends_with_it(tmp_path):
    code = (
        "import os, time\nchild = os.fork()\nif child == 0:\n    time.sleep(30)\n    os._exit(0)\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child))"
    )
    started = time.monotonic()
    assert RunPython(unsafe_exec=True).run(code).status == "passed"
    assert time.monotonic() - started < 9
    child = Path("/proc") / (tmp_path / "child").read_text()
    deadline = time.monotonic() + 5
    while (
        child.exists()
        and child.joinpath("stat").read_text().split()[2] not in "ZX"
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert (
        not child.exists()
        or child.joinpath("stat").read_text().split()[2] in "ZX"
    )


def test_limits_that_the_user_has_set_are_never_raised(monkeypatch):
    set_to = {}
    monkeypatch.setattr(
        jail.resource,
        "getrlimit",
        lambda what: (20, 20) if what == resource.RLIMIT_NOFILE else (-1, -1),
    )
    monkeypatch.setattr(
        jail.resource,
        "setrlimit",
        lambda what, limits: set_to.update({what: limits}),
    )
    jail.limit(7, 64)
    assert set_to[resource.RLIMIT_NOFILE] == (20, 20)
    assert set_to[resource.RLIMIT_CPU] == (7, 7)
    assert set_to[resource.RLIMIT_AS] == (64 << 20, 64 << 20)


def test_few_descriptors_are_enough():
    code = "from synth.verifiers.run_python import RunPython\nprint([RunPython().run('print(1)').status for _ in range(20)])"
    words = f'ulimit -n 24; exec {sys.executable} -c "$1"'
    found = subprocess.run(
        ["/bin/sh", "-c", words, "sh", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(["passed"] * 20)
