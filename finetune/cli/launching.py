"""A training command in several processes of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

# Seconds that the others get to end, or to say what is wrong, where one process has failed.
_GRACE = 5.0
_LOOK = 0.1


def launched(processes: int, words: Sequence[str]) -> int:
    """Runs `finetune` in so many processes that train together.

    They find each other by torch's environment variables, as under `torchrun`. The first one alone
    shows what it prints.

    Args:
        processes: how many.
        words: the command line behind `finetune`.

    Returns:
        The exit code of the first process that failed; 0 where none did.
    """
    port = _free_port()
    begun = [
        _process(rank, processes, port, words) for rank in range(processes)
    ]
    try:
        return _watched(begun)
    finally:
        for process in begun:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _process(
    rank: int, processes: int, port: int, words: Sequence[str]
) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    # Threads of one process would take the cores of the others.
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    )
    env.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    quiet = None if rank == 0 else subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-m", "finetune.cli", *words],
        env=env,
        stdout=quiet,
        stderr=quiet,
    )


def _watched(begun: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits for all; where one fails, the others get a moment, and then they are ended."""
    failed = 0
    deadline = 0.0
    while None in (codes := [process.poll() for process in begun]):
        wrong = [code for code in codes if code]
        if wrong and not failed:
            failed = wrong[0]
            deadline = time.monotonic() + _GRACE
        if failed and time.monotonic() > deadline:
            break
        time.sleep(_LOOK)
    # The first one's own code says most: it prints what is wrong.
    code = codes[0] or failed or max((code or 0 for code in codes), key=abs)
    return 128 - code if code < 0 else code
