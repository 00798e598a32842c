"""Confines this process: what is not on the lists below is refused.

Landlock takes away every file but Python's own library (read only), seccomp every system call
that a computation does not need, rlimits bound the rest. No namespace and no privilege is needed,
so it also holds inside containers. Where a lock does not hold `Refused` is raised.

Standard library only; nothing of this product is imported into the confined process.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import resource
import struct
import sys

TYPE_CHECKING = False  # as in `typing`, whose import each program would pay for
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from synth.sandbox.system_calls import Machine, Statement

# The limits of a program, all of them in one place; the first three are what a caller may change.
SECONDS = 5
MEGABYTES = 512
WORKERS = 2
MOST_SECONDS = 3600
MOST_MEGABYTES = 1 << 20
MOST_WORKERS = 256
MOST_THREADS = 64
MOST_OUTPUT = 1 << 20
MOST_OPEN = 64
MOST_CODE = 128 << 20

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9

# Landlock: system calls with one number everywhere; rights by the version that brought them.
_RULESET = 444
_RULE = 445
_RESTRICT = 446
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_FILE_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_TCP, _SCOPES = (
    0b11,
    0b11,
)  # bind and connect (version 4); abstract sockets and signals (6)


class Refused(Exception):
    """A lock does not hold: an unconfined program must not run."""


def limit(seconds: int, megabytes: int) -> None:
    """CPU time, address space, files by number and size; no core dump, locked page or queue."""
    size = megabytes << 20
    most = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: size,
        resource.RLIMIT_NOFILE: MOST_OPEN,
        resource.RLIMIT_FSIZE: 1 << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for what, value in most.items():
        hard = resource.getrlimit(what)[
            1
        ]  # never raised: only root may, and the user has set it
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (least, least))


def small_stacks() -> None:
    """A stack of 1 MiB for each thread instead of 8: from Python 3.13 on a thread that has ended
    keeps its own until it is joined.
    """
    _thread.stack_size(1 << 20)


def share_heap(libc: ctypes.CDLL) -> None:
    """One heap for all threads: glibc sets 64 MiB of the address space aside for each of them."""
    if hasattr(libc, "mallopt"):
        libc.mallopt(-8, 1)  # M_ARENA_MAX


def hide_files(libc: ctypes.CDLL, folders: Iterable[str]) -> None:
    """From here on files can be read below `folders` only, and none can be written or made.

    Kernels from 6.12 (version 6) also keep signals and abstract sockets inside; on older ones
    seccomp alone does, which refuses every socket and every signal to another process.
    """
    version = libc.syscall(_RULESET, None, 0, 1)
    if version < 1:
        raise Refused(
            "this kernel has no Landlock (5.13 or newer, switched on)"
        )
    files = sum(rights for since, rights in _FILE_RIGHTS if since <= version)
    fields = [
        files,
        *([_TCP] if version >= 4 else []),
        *([_SCOPES] if version >= 6 else []),
    ]
    handled = ctypes.create_string_buffer(
        struct.pack(f"={len(fields)}Q", *fields), 8 * len(fields)
    )
    ruleset = libc.syscall(_RULESET, handled, ctypes.sizeof(handled), 0)
    if ruleset < 0:
        raise Refused("Landlock takes no rules")
    for folder in folders:
        if os.path.isdir(folder):  # noqa: PTH112 - nothing more than os is loaded here
            fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            below = struct.pack("=Qi", _READ_FILE | _READ_DIR, fd)
            rule = ctypes.create_string_buffer(below, 12)
            if libc.syscall(_RULE, ruleset, 1, rule, 0):
                raise Refused(f"Landlock refuses {folder}")
            os.close(fd)
    if libc.syscall(_RESTRICT, ruleset, 0):
        raise Refused("Landlock does not hold")
    os.close(ruleset)


def install(
    libc: ctypes.CDLL, machine: Machine, program: list[Statement], flags: int
) -> int:
    """From here on system calls go through a filter.

    Returns:
        A descriptor where the flags ask for one, else 0; another number where it does not hold.
    """
    packed = b"".join(
        struct.pack("=HBBI", code, yes, no, k) for code, k, yes, no in program
    )
    code = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("=H6xQ", len(program), ctypes.addressof(code))
    return int(
        libc.syscall(
            machine.seccomp,
            1,
            flags,
            ctypes.create_string_buffer(head, 16),
        )
    )


def drop_privileges(libc: ctypes.CDLL) -> None:
    """Gives up every capability of root but the one to read Python's library wherever it lies."""
    header = struct.pack("=Ii", 0x20080522, 0)
    held = ctypes.create_string_buffer(24)
    libc.capget(header, held)
    capability = (
        struct.unpack("=6I", held.raw)[1] & 1 << 2
    )  # CAP_DAC_READ_SEARCH
    if libc.capset(
        header, struct.pack("=6I", capability, capability, 0, 0, 0, 0)
    ):
        raise Refused("privileges cannot be given up")


def gain_nothing(libc: ctypes.CDLL) -> None:
    """Nothing that runs here gains a privilege, and no process of the same user traces it."""
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Refused("privileges can be gained")


def die_with(libc: ctypes.CDLL, parent: int) -> None:
    """The kernel ends this process when the one that asked ends."""
    if (
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        or os.getppid() != parent
    ):
        raise Refused("whoever asked has gone")


def library() -> ctypes.CDLL:
    """The C library; there is no sandbox but on Linux."""
    if sys.platform != "linux":
        raise Refused(f"no sandbox for {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def readable_folders() -> list[str]:
    """Python's library and the shared libraries that its modules load."""
    shared = [
        f"{sys.base_prefix}/lib",
        "/usr/lib",
        "/lib",
        "/lib64",
        "/usr/lib64",
    ]
    return [*sys.path, *shared, "/usr/share/zoneinfo"]


def close(
    libc: ctypes.CDLL,
    machine: Machine,
    program: list[Statement],
    folders: Iterable[str],
) -> None:
    """Locks files, privileges and system calls, in this order: the last lock keeps the others."""
    gain_nothing(libc)
    hide_files(libc, folders)
    drop_privileges(libc)
    if install(libc, machine, program, 1):  # in every thread
        raise Refused("seccomp takes no filter")
    look_by_opening()


def look_by_opening() -> None:
    """`os.stat` opens what it looks at, so that what cannot be read cannot be looked at either."""
    import posix  # noqa: PLC0415 - the import system looks at files through this module

    opened = os.open
    looked = os.fstat
    closed = os.close
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

    def stat(
        path: Any, *, dir_fd: Any = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        if isinstance(path, int):
            return looked(path)
        fd = opened(
            path,
            flags if follow_symlinks else flags | os.O_NOFOLLOW,
            dir_fd=dir_fd,
        )
        try:
            return looked(fd)
        finally:
            closed(fd)

    for module in (os, posix):
        setattr(module, "stat", stat)  # noqa: B010 - mypy knows no such attribute to set
