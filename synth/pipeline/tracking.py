"""What the trackers that `--report-to` names are told of a run: its settings when it begins, and
counts, tokens and dollars while it goes on.

They are told no word of a row, of a prompt or of a reply, no address and no key. A tracker that
cannot be reached ends the command before the first call; one that fails later costs no row.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from synth.calls.door import Stats
from synth.core.errors import Stopped, printable
from synth.pipeline.finished import OF_FILES
from synth.pipeline.prepare import Prepared
from synth.pipeline.walker import Tally
from synth.runs.ownership import read_run
from synth.runs.trackers import OPTION, TRACKERS, Facts, Tracker

# Seconds between two reports, and those that the end of a run waits for a slow tracker.
EVERY = 10.0
_PATIENCE = 30.0
# What every tracker takes in the name of a number.
_ODD = re.compile(r"[^A-Za-z0-9_\-./ ]")


def numbers_of(tally: Tally, stats: Stats) -> dict[str, float]:
    """Name -> number of a run, as trackers take them."""
    dropped, failed = dict(tally.dropped), dict(tally.failed)
    numbers: dict[str, float] = {
        "seeds": tally.seeds,
        "asked": tally.asked,
        "kept": tally.kept,
        "dropped": sum(dropped.values()),
        "failed": sum(failed.values()),
        "calls/asked": stats.asked,
        "calls/reused": stats.reused,
        "calls/retried": stats.retried,
        "tokens": stats.tokens,
        "usd": stats.usd,
    }
    for kind, reasons in (("dropped", dropped), ("failed", failed)):
        for reason, count in reasons.items():
            numbers[f"{kind}/{_ODD.sub('_', reason)}"] = count
    return {name: float(number) for name, number in numbers.items()}


class _Teller:
    """Tells trackers how a run stands, from a thread of its own: none holds up a call.

    Attributes:
        tally: the rows of the run, as they were said last.
        stats: its calls.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self.tally = Tally()
        self.stats = Stats()
        self._trackers = dict(trackers)
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def start(self) -> None:
        """Begins to tell."""
        self._thread.start()

    def end(self, *, whole: bool) -> None:
        """Tells the last numbers, and that this is the end."""
        self._over.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            names = ", ".join(self._trackers)
            _warn(f"{names} did not answer in {_PATIENCE:.0f} s")
            return
        with _aside():
            self._each(self._log)
            self._each(lambda tracker: tracker.end(whole=whole))

    def _go(self) -> None:
        while not self._over.wait(EVERY):
            self._each(self._log)

    def _log(self, tracker: Tracker) -> None:
        second = round(time.monotonic() - self._began)
        tracker.log(numbers_of(self.tally, self.stats), second)

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        """Does it for all; who fails is told no more."""
        for name, tracker in list(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:  # noqa: BLE001 - a tracker costs no row
                del self._trackers[name]
                _warn(f"{name} is told no more: {_words(error)}")


def _warn(said: str) -> None:
    sys.stderr.write(f"synth: warning: {OPTION}: {said}\n")


def _words(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}")[:300]


@contextlib.contextmanager
def tracked(prepared: Prepared) -> Iterator[None]:
    """Tells the trackers of a run's settings how it goes, while the block lasts; what shows the run
    is set before.

    Raises:
        Stopped: a tracker that cannot be opened; nothing was asked.
    """
    names = prepared.config.report_to
    if not names or prepared.unchanged:
        yield
        return
    teller = _Teller({name: _opened(name, prepared) for name in names})
    show = prepared.on_row

    def on_row(tally: Tally, stats: Stats) -> None:
        teller.tally = tally
        teller.stats = stats
        if show:
            show(tally, stats)

    prepared.on_row = on_row
    teller.start()
    whole = False
    try:
        yield
        # Shards that run together are joined later.
        together = prepared.config.shard is None and prepared.config.shards
        whole = bool(together or not read_run(prepared.output).get("stopped"))
    finally:
        teller.end(whole=whole)


def _aside() -> contextlib.AbstractContextManager[Any]:
    """Some trackers say where they write; standard output is the command's own."""
    return contextlib.redirect_stdout(sys.stderr)


def _opened(name: str, prepared: Prepared) -> Tracker:
    try:
        with _aside():
            return TRACKERS[name](_name(prepared), _facts(prepared))
    except Exception as error:
        raise Stopped(f"{OPTION} {name}", _words(error)) from error


def _name(prepared: Prepared) -> str:
    """What a tracker calls a run: its folder, and the shard in it."""
    output = prepared.output
    if prepared.config.shard is None:
        return output.name
    return f"{output.parents[1].name}/{output.name}"


def _facts(prepared: Prepared) -> Facts:
    """What a run was told, in short: nothing that could hold a text, an address or a key."""
    config = prepared.config
    values: dict[str, Any] = {
        "pack": prepared.pack.spec.name,
        "version": prepared.pack.spec.version,
        "rows": prepared.scan.rows,
        "draws": config.draws,
        "target": config.target,
        "budget": config.budget,
        "shards": config.shards,
    }
    for role, teacher in sorted(prepared.teachers().items()):
        values[f"teacher/{role}"] = _without_folders(teacher)
    return {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _without_folders(teacher: str) -> str:
    """A teacher's name; of one that is a file or a folder, the last part alone."""
    provider, _, model = teacher.partition("/")
    if teacher.startswith(OF_FILES):
        return f"{provider}/{Path(model).name}"
    return teacher
