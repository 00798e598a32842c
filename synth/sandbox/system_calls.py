"""Which system calls a confined process may make, on each architecture, and the filter for it.

A call that is not on the list fails with EPERM and the program goes on, as Python expects of a
machine that lacks something; a kill would end honest programs that only try. Another architecture
or an x32 number ends the program: no honest one makes such a call.

Standard library only; nothing of this product is imported into the confined process.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in `typing`, whose import each program would pay for
_PR_SET_NAME = 15
_PR_GET_NAME = 16
_EPERM = 1
_EAGAIN = 11
_ENOSYS = 38
# What `seccomp` is told to have a descriptor through which calls are asked for.
LISTEN = 8


class Machine:
    """An architecture: its name for the kernel, its number of `seccomp` and of allowed calls."""

    def __init__(self, audit: int, seccomp: int, calls: str) -> None:
        words = calls.split()
        self.audit = audit
        self.seccomp = seccomp
        numbers = map(int, words[1::2])
        self.numbers = dict(zip(words[::2], numbers, strict=True))


MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        317,
        """
        read 0 write 1 open 2 close 3 fstat 5 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12
        rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 readv 19 writev 20
        pipe 22 select 23 sched_yield 24 mremap 25 madvise 28 dup 32 dup2 33 pause 34 nanosleep 35
        getitimer 36 alarm 37 setitimer 38 getpid 39 clone 56 exit 60 kill 62 uname 63 fcntl 72
        getcwd 79 gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100 getuid 102
        getgid 104 geteuid 107 getegid 108 getppid 110 rt_sigpending 127 rt_sigtimedwait 128
        rt_sigsuspend 130 sigaltstack 131 prctl 157 gettid 186 time 201 futex 202
        sched_getaffinity 204 getdents64 217 restart_syscall 219 clock_gettime 228 clock_getres 229
        clock_nanosleep 230 exit_group 231 epoll_wait 232 epoll_ctl 233 tgkill 234 openat 257
        newfstatat 262 pselect6 270 ppoll 271 set_robust_list 273 epoll_pwait 281
        epoll_create1 291 dup3 292 pipe2 293 prlimit64 302 getcpu 309 getrandom 318 membarrier 324
        statx 332 rseq 334 clone3 435 openat2 437 faccessat2 439 epoll_pwait2 441
        """,
    ),
    "aarch64": Machine(
        0xC00000B7,
        277,
        """
        getcwd 17 epoll_create1 20 epoll_ctl 21 epoll_pwait 22 dup 23 dup3 24 fcntl 25 ioctl 29
        openat 56 close 57 pipe2 59 getdents64 61 lseek 62 read 63 write 64 readv 65 writev 66
        pread64 67 pselect6 72 ppoll 73 newfstatat 79 fstat 80 exit 93 exit_group 94 futex 98
        set_robust_list 99 nanosleep 101 getitimer 102 setitimer 103 clock_gettime 113
        clock_getres 114 clock_nanosleep 115 sched_getaffinity 123 sched_yield 124
        restart_syscall 128 kill 129 tgkill 131 sigaltstack 132 rt_sigsuspend 133 rt_sigaction 134
        rt_sigprocmask 135 rt_sigpending 136 rt_sigtimedwait 137 rt_sigreturn 139 times 153
        uname 160 getrlimit 163 getrusage 165 prctl 167 getcpu 168 gettimeofday 169 getpid 172
        getppid 173 getuid 174 geteuid 175 getgid 176 getegid 177 gettid 178 sysinfo 179 brk 214
        munmap 215 mremap 216 clone 220 mmap 222 mprotect 226 madvise 233 prlimit64 261
        getrandom 278 membarrier 283 statx 291 rseq 293 clone3 435 openat2 437 faccessat2 439
        epoll_pwait2 441
        """,
    ),
}
# libc asks for these first, and does with older ones where the kernel does not know them.
_UNKNOWN = (
    "membarrier",
    "statx",
    "clone3",
    "openat2",
    "faccessat2",
    "epoll_pwait2",
)
_X32 = 0x40000000  # the bit of calls by 32-bit programs on x86_64: a second door to every call

# A thread: memory, files, folders, signal handlers and semaphores in common; no other clone.
_THREAD = 0x003D0F00
_DETACHED = 0x00400000
_OPEN_FLAGS = (
    os.O_CLOEXEC
    | os.O_DIRECTORY
    | os.O_NOFOLLOW
    | os.O_NONBLOCK
    | os.O_LARGEFILE
)
_F_SETFL = 4
_AT_EMPTY_PATH = 0x1000
_HUGE_OR_LOCKED = 0x42000
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: never an owner, a signal, a lease, a size.
_FCNTL = (0, 1, 2, 3, 1030)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: questions, and flags of the descriptor.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Waiting and waking; nothing that inherits priorities. Private and real-time flags are both fine.
_FUTEX = (0, 1, 3, 4, 5, 9, 10)
_FUTEX_FLAGS = 128 | 256
# Advice on the own memory; 102 and 103 are libc's guards of threads' stacks.
_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15, 102, 103)

# One statement of a filter: its code, a value, where to go if it holds and if not.
if TYPE_CHECKING:
    Statement = tuple[int, int, int, int]
# Where a test leads that fails: behind the alternative that it stands in.
_OUT = -1
_LOAD = 0x20
_AND = 0x54
_EQUAL = 0x15
_AT_LEAST = 0x35
_SET = 0x45
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERROR = 0x00050000
_ASK = 0x7FC00000
_NUMBER = 0
_ARCHITECTURE = 4
_ARGUMENTS = 16


def _one_of(argument: int, *values: int, besides: int = 0) -> list[Statement]:
    """The lower half of an argument, without the bits `besides`, is one of the values."""
    load = [
        (_LOAD, _ARGUMENTS + 8 * argument, 0, 0),
        (_AND, 0xFFFFFFFF & ~besides, 0, 0),
    ]
    last = len(values) - 1
    tests = [
        (_EQUAL, value, last - n, 0 if n < last else _OUT)
        for n, value in enumerate(values)
    ]
    return [*load, *tests]


def _none_of(argument: int, bits: int) -> list[Statement]:
    """None of these bits is set in the lower half of an argument."""
    return [
        (_LOAD, _ARGUMENTS + 8 * argument, 0, 0),
        (_SET, 0xFFFFFFFF & bits, _OUT, 0),
    ]


def _zero(argument: int) -> list[Statement]:
    """An argument is null, both of its halves."""
    lower = _ARGUMENTS + 8 * argument
    upper = _ARGUMENTS + 8 * argument + 4
    nothing = (_EQUAL, 0, 0, _OUT)
    return [(_LOAD, lower, 0, 0), nothing, (_LOAD, upper, 0, 0), nothing]


def _conditions(own: int) -> dict[str, tuple[list[Statement], ...]]:
    """The calls that are allowed with some arguments only: one list of tests for each way."""
    status_flags = ~(
        os.O_NONBLOCK | os.O_APPEND | os.O_RDWR | os.O_WRONLY | os.O_LARGEFILE
    )
    return {
        # To read; never with O_PATH, which Landlock lets through.
        "openat": (_none_of(2, ~_OPEN_FLAGS),),
        "open": (_none_of(1, ~_OPEN_FLAGS),),  # as libc of Alpine calls it
        "newfstatat": (
            _one_of(3, _AT_EMPTY_PATH),
        ),  # what is open already: libc's fstat
        "fcntl": (
            _one_of(1, *_FCNTL),
            [*_one_of(1, _F_SETFL), *_none_of(2, status_flags)],
        ),
        "ioctl": (_one_of(1, *_IOCTL),),
        "mmap": (_none_of(3, _HUGE_OR_LOCKED),),
        "madvise": (_one_of(2, *_ADVICE),),
        "futex": (_one_of(1, *_FUTEX, besides=_FUTEX_FLAGS),),
        "clone": (_one_of(0, _THREAD, besides=_DETACHED),),
        "prctl": (_one_of(0, _PR_SET_NAME, _PR_GET_NAME),),
        "prlimit64": (
            [*_one_of(0, 0, own), *_zero(2)],
        ),  # limits are read, never set
        "sched_getaffinity": (_one_of(0, 0, own),),
        "kill": (_one_of(0, own),),
        "tgkill": (_one_of(0, own),),
    }


def _way(tests: list[Statement]) -> list[Statement]:
    """Tests that lead to yes where all hold, and behind themselves where one fails."""
    body = [*tests, (_RETURN, _ALLOW, 0, 0)]
    end = len(body) - 1
    led = []
    for n, (code, value, yes, no) in enumerate(body):
        here = {_OUT: end - n}
        led.append((code, value, here.get(yes, yes), here.get(no, no)))
    return led


def filter_program(
    machine: Machine, own: int, *, threads: bool
) -> list[Statement]:
    """The list of what is allowed, as the kernel reads it.

    Args:
        machine: the architecture.
        own: the process, to which alone signals may go.
        threads: whether a thread may be made; else the call fails with EAGAIN.
    """
    program = [
        (_LOAD, _ARCHITECTURE, 0, 0),
        (_EQUAL, machine.audit, 1, 0),
        (_RETURN, _KILL, 0, 0),
    ]
    program += [
        (_LOAD, _NUMBER, 0, 0),
        (_AT_LEAST, _X32, 0, 1),
        (_RETURN, _KILL, 0, 0),
    ]
    conditions = _conditions(own)
    for name, number in machine.numbers.items():
        body = [(_RETURN, _ALLOW, 0, 0)]
        if name in _UNKNOWN:
            body = [(_RETURN, _ERROR | _ENOSYS, 0, 0)]
        elif name == "clone" and not threads:
            body = [(_RETURN, _ERROR | _EAGAIN, 0, 0)]
        elif name in conditions:
            body = [
                statement
                for tests in conditions[name]
                for statement in _way(tests)
            ]
            error = _ENOSYS if name == "sched_getaffinity" else _EPERM
            body.append((_RETURN, _ERROR | error, 0, 0))
        program += [(_EQUAL, number, 0, len(body)), *body]
    return [*program, (_RETURN, _ERROR | _EPERM, 0, 0)]


def ask_program(machine: Machine) -> list[Statement]:
    """Every new thread waits for a yes from the holder of the descriptor; all else goes on."""
    ask = [(_LOAD, _NUMBER, 0, 0), (_EQUAL, machine.numbers["clone"], 0, 1)]
    return [*ask, (_RETURN, _ASK, 0, 0), (_RETURN, _ALLOW, 0, 0)]


def this_machine() -> Machine | None:
    """The architecture of this process, None where its calls are not known."""
    is_supported = sys.maxsize > 1 << 32 and sys.byteorder == "little"
    return MACHINES.get(os.uname().machine) if is_supported else None
