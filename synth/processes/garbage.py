"""How often a process looks for garbage."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """For a process that imports, runs seeds and does little else: modules and rows make no
    reference cycles. Looking for some after every 700 new objects costs a sixth of the CPU, and
    the modules alone are 100,000 objects.
    """
    gc.set_threshold(500_000, 50, 50)
