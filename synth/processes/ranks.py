"""Which of several processes of one training this is."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this process speaks and writes for all: the only one, or that of rank 0 where a
    launcher such as `torchrun` started several.
    """
    return os.environ.get("RANK", "0") == "0"


def processes() -> int:
    """How many train together: 1, or as many as a launcher has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return processes() > 1
