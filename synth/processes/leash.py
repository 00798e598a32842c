"""Processes that end with the one that started them, whatever ended it and whatever they do.

`python -m synth.processes.leash PARENT -m MODULE ...` (or `PARENT SCRIPT ...`) ties itself to the
process PARENT and then is that module. On Linux the kernel kills it, also while it loads a library
or computes without ever coming back to Python; elsewhere a thread looks whether PARENT is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_SET_PDEATHSIG = 1
_SIGKILL = 9
# Where the kernel does not tell: well within the two seconds in which an orphan is to be gone.
_LOOK_SECONDS = 0.5


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="leash")


# The kernel ends a process with the thread that started it: this one lives as long as ours does.
# Other threads, of a pool or of a notebook's run, do not. A forked process gets its own.
_starter = _one_thread()


def _renew() -> None:
    global _starter  # noqa: PLW0603 - threads do not survive a fork
    _starter = _one_thread()


os.register_at_fork(after_in_child=_renew)


def command(*words: str) -> list[str]:
    """The command line of `python WORDS` as a process that ends with this one.

    It ends with the thread that starts it, too: `start` is for those whose thread may end first.
    """
    return [
        sys.executable,
        "-m",
        "synth.processes.leash",
        str(os.getpid()),
        *words,
    ]


def start(*words: str, **pipes: Any) -> subprocess.Popen[bytes]:
    """`python WORDS`, in a session of its own, until this process ends.

    Args:
        words: `-m`, a module and its arguments, or a script and its arguments.
        pipes: as `subprocess.Popen` takes them.
    """

    def popen() -> subprocess.Popen[bytes]:
        line = command(*words)
        return subprocess.Popen(line, start_new_session=True, **pipes)  # noqa: S603 - our modules

    return _starter.submit(popen).result()


def _told_by_the_kernel() -> bool:
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - for workers alone

    return bool(ctypes.CDLL(None).prctl(_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) == 0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


def _tie(parent: int) -> None:
    """Ends this process with its parent, at once where that one has gone already."""
    if not _told_by_the_kernel():
        import threading  # noqa: PLC0415 - as above

        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _become(words: list[str]) -> None:
    """Runs a module or a script in this process, as `python WORDS` does."""
    import runpy  # noqa: PLC0415 - as above

    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _tie(int(sys.argv[1]))
    _become(sys.argv[2:])
