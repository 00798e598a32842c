"""A file that one process holds at a time; the system lets go of it when the process ends, however
it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import BinaryIO

# Seconds between two tries for a lock that is waited for.
EVERY = 0.4
_LONGEST_ID = 32


class InUse(Exception):
    """Another process holds the file.

    Attributes:
        holder: its id, as it wrote it there, or "unknown".
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by process {holder}")
        self.holder = holder


def locked(path: Path, patience: float = 0.0) -> BinaryIO:
    """The file, held until it is closed, with the id of this process in it.

    Args:
        path: of the file, which is made where it is missing; its folder must be there.
        patience: seconds that another holder is waited for.

    Raises:
        InUse: another process holds it all the while.
        OSError: the file cannot be made or written.
    """
    latest = time.monotonic() + patience
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    lock = os.fdopen(os.open(path, flags, 0o600), "a+b")
    try:
        while not _is_mine(lock):
            if time.monotonic() >= latest:
                raise InUse(_holder(lock))
            time.sleep(EVERY)
        lock.truncate(0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    except BaseException:
        lock.close()
        raise
    return lock


def _is_mine(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(lock: BinaryIO) -> str:
    lock.seek(0)
    return lock.read(_LONGEST_ID).decode(errors="replace") or "unknown"
