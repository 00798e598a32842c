"""What a person sees while a run goes on: one line that moves on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from synth.calls.door import Stats
from synth.pipeline import Tally
from synth.prepare import Prepared


@contextlib.contextmanager
def progress(prepared: Prepared, *, quiet: bool) -> Iterator[None]:
    """Shows rows, share kept, calls and time left of a run, where standard error is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only for terminals

    console = Console(stderr=True)
    started = time.monotonic()
    seeds, shown = 0, 0.0
    with console.status("starting") as status:

        def on_row(tally: Tally, stats: Stats) -> None:
            nonlocal seeds, shown
            seeds += 1
            now = time.monotonic()
            if now - shown > 0.25:
                shown = now
                left = (now - started) / seeds * (prepared.scan.rows - seeds)
                kept = 100 * tally.kept / max(1, tally.asked)
                status.update(
                    f"{seeds:,} of {prepared.scan.rows:,} seeds, {kept:.1f} % kept, {tally.failed.total():,} failed, "
                    f"{stats.asked:,} calls, {left:,.0f} s left"
                )

        prepared.on_row = on_row
        yield
