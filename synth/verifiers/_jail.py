"""Confines this process, then runs a program in it: `python -I -S _jail.py SECONDS MEGABYTES < program`.

Landlock takes away every file but Python's own library (read only), seccomp every process, socket, signal to others
and kernel interface that a computation does not need, rlimits the rest. No namespaces and no privileges are needed, so it also
holds inside containers. What cannot be confined is not run: exit status 97.

Standard library only; nothing of this product is imported into the confined process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
import sysconfig

REFUSED = 97
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE = 1, 38, 22, 4
_SIGKILL, _EPERM, _ENOSYS = 9, 1, 38
# landlock_create_ruleset, _add_rule, _restrict_self: the same numbers on every architecture.
_RULESET, _RULE, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
# Every access right of the first Landlock version; later ones (refer, truncate, ioctl) are added where the kernel has them.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}

# System calls of x86_64 that are refused, by what they reach.
_NEVER = {
    "processes and programs": (57, 58, 59, 322),
    "sockets (a socketpair is a pipe)": (41, 42, 43, 49, 50, 288),
    "other processes": (101, 310, 311, 312, 424, 434, 438, 440, 448, 141, 142, 144, 203, 251, 314),
    "modes, owners, times and attributes of files, which Landlock leaves open": (
        76, 90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 452, 254, 300, 303, 304,
    ),
    "mounts, roots and namespaces": (155, 161, 165, 166, 272, 308, 428, 429, 430, 431, 432, 433, 442, 179, 443),
    "the kernel": (103, 135, 153, 154, 163, 167, 168, 169, 172, 173, 175, 176, 246, 298, 313, 320, 321, 323, 425, 426, 427, 447),
    "keys": (248, 249, 250),
    "memory and queues of the system": (29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 240, 241),
    "clock and names": (159, 164, 170, 171, 227, 305),
    "users": (105, 106, 113, 114, 116, 117, 119, 122, 123),
}  # fmt: skip
# kill, tkill, rt_sigqueueinfo, tgkill, rt_tgsigqueueinfo: to this process only. prlimit64: of this process only.
_SIGNALS, _PRLIMIT, _CLONE, _CLONE3, _PRCTL = (62, 200, 129, 234, 297), 302, 56, 435, 157
_AUDIT_X86_64, _CLONE_THREAD, _X32 = 0xC000003E, 0x00010000, 0x40000000


def refuse(why: str) -> None:
    """Ends the process: an unconfined program must not run."""
    os.write(2, f"no sandbox: {why}\n".encode())
    os._exit(REFUSED)


def limit(seconds: int, megabytes: int) -> None:
    """CPU time, address space, file size, open files, no core dumps."""
    size = megabytes << 20
    for what, most in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, size), (resource.RLIMIT_FSIZE, 1 << 20), (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))


def hide_files(libc: ctypes.CDLL, folders: list[str]) -> None:
    """From here on files can be read below `folders` only, and none can be written, made or removed."""
    version = libc.syscall(_RULESET, None, 0, 1)
    if version < 1:
        refuse("this kernel has no Landlock")
    handled = ctypes.c_uint64(_RIGHTS.get(version, (1 << 16) - 1))
    ruleset = libc.syscall(_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        refuse("Landlock takes no rules")
    for folder in folders:
        if os.path.isdir(folder):  # noqa: PTH112 - nothing more than os is loaded here
            place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", _READ_FILE | _READ_DIR | _EXECUTE, place), 12)
            if libc.syscall(_RULE, ruleset, 1, rule, 0):
                refuse(f"Landlock refuses {folder}")
            os.close(place)
    if libc.syscall(_RESTRICT, ruleset, 0):
        refuse("Landlock does not hold")
    os.close(ruleset)


def _statement(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value & 0xFFFFFFFF)


_LOAD, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def _only(number: int, test: int, *values: int) -> list[bytes]:
    """A call that is allowed only where its first argument passes the test with one of the values."""
    checks = [_statement(test, value, len(values) - place, 0) for place, value in enumerate(values)]
    body = [_statement(_LOAD, _FIRST_ARGUMENT), *checks, _statement(_RETURN, _ERROR | _EPERM), _statement(_RETURN, _ALLOW)]
    return [_statement(_EQUAL, number, 0, len(body)), *body]


def filter_calls(libc: ctypes.CDLL) -> None:
    """From here on no new process or program, no socket, no signal to others, no kernel interface."""
    if platform.machine() != "x86_64":
        refuse(f"no list of system calls for {platform.machine()}")
    own, error = os.getpid(), _statement(_RETURN, _ERROR | _EPERM)
    program = [_statement(_LOAD, _ARCHITECTURE), _statement(_EQUAL, _AUDIT_X86_64, 1, 0), _statement(_RETURN, _KILL)]
    program += [_statement(_LOAD, _NUMBER), _statement(_AT_LEAST, _X32, 0, 1), _statement(_RETURN, _KILL)]
    program += [_statement(_EQUAL, _CLONE3, 0, 1), _statement(_RETURN, _ERROR | _ENOSYS)]  # makes libc fall back to clone
    for numbers in _NEVER.values():
        for number in numbers:
            program += [_statement(_EQUAL, number, 0, 1), error]
    program += _only(_CLONE, _SET, _CLONE_THREAD)
    program += _only(_PRLIMIT, _EQUAL, 0, own)
    for number in _SIGNALS:
        program += _only(number, _EQUAL, own)
    # Nobody may take back that this process dies with the one that asked.
    program += [_statement(_EQUAL, _PRCTL, 0, 3), _statement(_LOAD, _FIRST_ARGUMENT), _statement(_EQUAL, _PR_SET_PDEATHSIG, 0, 1), error]
    program.append(_statement(_RETURN, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(program))
    head = struct.pack("=H6xQ", len(program), ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(head), 0, 0):
        refuse("seccomp takes no filter")


def confine(seconds: int, megabytes: int, *, unsafe: bool) -> None:
    """Everything at once; what follows can only compute and write to its open pipes. `unsafe` leaves it at the limits."""
    if sys.platform != "linux":
        refuse(f"no sandbox for {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    parent = os.getppid()
    if libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) or os.getppid() != parent or parent == 1:
        refuse("whoever asked has gone")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        refuse("privileges can be gained")
    limit(seconds, megabytes)
    if unsafe:
        return
    paths = sysconfig.get_paths()
    hide_files(libc, [paths["stdlib"], paths["platstdlib"], "/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/share/zoneinfo"])
    filter_calls(libc)


def main() -> None:
    """Reads the program, confines itself, runs it as `__main__`."""
    program = sys.stdin.buffer.read()
    seconds, megabytes, unsafe = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["--unsafe-exec"]
    sys.argv = ["program.py"]
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.chdir("/")
    confine(seconds, megabytes, unsafe=unsafe)
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(program, "program.py", "exec"), names)  # noqa: S102 - the one place where a model's code runs, confined


if __name__ == "__main__":
    main()
