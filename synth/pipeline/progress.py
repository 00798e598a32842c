"""What a person sees while a run goes on: a live panel on a terminal, a plain line a minute
elsewhere.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from markupsafe import escape

from synth.calls.door import Stats
from synth.core.errors import TeacherError, printable
from synth.core.money import dollars
from synth.core.records import Exit, Request
from synth.pipeline.prepare import Prepared
from synth.pipeline.walker import Tally

if TYPE_CHECKING:
    from rich.table import Table

# Seconds between plain lines, and the span over which rates are taken.
PLAIN_EVERY = 60.0
SPAN = 10.0
# Seconds between two pictures of a notebook.
NOTEBOOK_EVERY = 0.5
# Characters of a reply or an error in a line of --verbose.
SHOWN = 160


# Shows a run while it lasts.
Watch = Callable[[Prepared], contextlib.AbstractContextManager[None]]


class Board:
    """The state of a run in words; rates are those of the last ten seconds."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.tally = Tally()
        self.stats = Stats()
        self.started = time.monotonic()
        self._past: deque[tuple[float, int, int, int]] = deque()

    def on_row(
        self,
        tally: Tally,
        stats: Stats,
    ) -> None:
        """More is through."""
        self.tally = tally
        self.stats = stats

    def rates(self) -> tuple[float, float, float]:
        """(seeds, kept rows, tokens) a second."""
        now = time.monotonic()
        self._past.append(
            (now, self.tally.seeds, self.tally.kept, self.stats.tokens)
        )
        while self._past[0][0] < now - SPAN and len(self._past) > 2:
            self._past.popleft()
        first = self._past[0]
        span = max(1e-9, now - first[0])
        return (
            (self.tally.seeds - first[1]) / span,
            (self.tally.kept - first[2]) / span,
            (self.stats.tokens - first[3]) / span,
        )

    def facts(self) -> dict[str, str]:
        """What is worth knowing, by name; what does not apply is left out."""
        tally = self.tally
        stats = self.stats
        config = self.prepared.config
        seeds, kept, tokens = self.rates()
        share = (
            f" ({100 * tally.kept / tally.asked:.1f} %)" if tally.asked else ""
        )
        failed = ", ".join(
            f"{kind} {n:,}" for kind, n in tally.failed.most_common(4)
        )
        dropped = ", ".join(
            f"{reason} {n:,}" for reason, n in tally.dropped.most_common(4)
        )
        retried = f", {stats.retried:,} asked again" if stats.retried else ""
        facts = {
            "seeds": f"{self.tally.seeds:,} of {self.prepared.scan.rows:,}",
            "kept": f"{tally.kept:,}{f' of {config.target:,}' if config.target else ''}{share}",
            "dropped": dropped,
            "failed": failed,
            "calls": f"{stats.flying:,} in flight, {stats.asked:,} asked, {stats.reused:,} "
            f"reused{retried}",
            "limit": "; ".join(
                sorted({gate.word() for gate in stats.gates} - {""})
            ),
            "tokens": f"{tokens:,.0f} a second",
            "spent": _spent(stats.usd, config.budget),
            "time left": _clock(self._left(seeds, kept)),
            "last error": printable(stats.last_error[:160]).replace("\n", " "),
        }
        return {name: text for name, text in facts.items() if text}

    def _left(
        self,
        seeds: float,
        kept: float,
    ) -> float | None:
        target = self.prepared.config.target
        missing, rate = (
            (target - self.tally.kept, kept)
            if target
            else (self.prepared.scan.rows - self.tally.seeds, seeds)
        )
        return missing / rate if rate > 0 else None

    def table(self) -> Table:
        """The facts as a grid for a terminal."""
        from rich.table import Table  # noqa: PLC0415 - only for terminals

        grid = Table.grid(padding=(0, 2))
        for name, text in self.facts().items():
            grid.add_row(f"[dim]{name}[/dim]", text.replace("[", r"\["))
        return grid

    def bundle(self) -> dict[str, str]:
        """The facts as a notebook takes them."""
        rows = [
            f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>"
            for name, text in self.facts().items()
        ]
        table = f"<table>{''.join(rows)}</table>"
        return {"text/plain": self.line(), "text/html": table}

    def line(self) -> str:
        """The facts as one plain line."""
        return "; ".join(
            f"{name}: {text}" for name, text in self.facts().items()
        )


def _spent(usd: float, budget: float | None) -> str:
    if not usd:
        return ""
    return (
        dollars(usd) if budget is None else f"{dollars(usd)} of ${budget:,.2f}"
    )


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    hours = int(seconds // 3600)
    minutes = int(seconds // 60 % 60)
    rest = int(seconds % 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def exit_line(exit_: Exit) -> str:
    """How a row left, in one line: its seed, step and draw, its reason, the end of its reply."""
    sample = exit_.sample
    reason = " ".join(filter(None, [exit_.kind, exit_.reason]))
    where = [f"seed {sample.seed.id}"]
    if "step" in sample.meta:
        where.append(f"step {sample.meta['step']}")
    if "draw" in sample.meta:
        where.append(f"draw {sample.meta['draw']}")
    parts = [f"{', '.join(where)}: {reason}"]
    if exit_.detail:
        parts.append(f"({_short(exit_.detail)})")
    reply = sample.fields.get("reply")
    if reply and exit_.kind != "failed":
        parts.append(f"reply: {_short(str(reply))}")
    return " ".join(parts)


def fault_line(request: Request, error: TeacherError) -> str:
    """A call without a reply, in one line."""
    return (
        f"seed {request.seed_id}, step {request.step}, draw {request.draw}: "
        f"no reply, {error.kind}: {_short(str(error))}"
    )


def _short(text: str) -> str:
    """In one line; of a long text its end, where answers stand."""
    line = " ".join(text.split())
    if len(line) > SHOWN:
        line = f"...{line[-SHOWN:]}"
    return printable(line)


def watched(
    prepared: Prepared, shown: bool | None
) -> contextlib.AbstractContextManager[None]:
    """Shows a run that Python started: in a notebook as a table under the cell, else as `progress`
    does.

    Args:
        prepared: the run.
        shown: None: where there is a notebook or a terminal.
    """
    show = _display()
    if shown is not False and show is not None:
        return _in_notebook(prepared, show)
    quiet = not (sys.stderr.isatty() if shown is None else shown)
    return progress(prepared, quiet=quiet)


def _display() -> Callable[..., Any] | None:
    """IPython's `display` where a notebook runs, else None."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    display: Callable[..., Any] = sys.modules["IPython.display"].display
    return display


@contextlib.contextmanager
def _in_notebook(
    prepared: Prepared, display: Callable[..., Any]
) -> Iterator[None]:
    board = Board(prepared)
    handle = display({"text/plain": ""}, raw=True, display_id=True)
    last = 0.0

    def on_row(tally: Tally, stats: Stats) -> None:
        nonlocal last
        board.on_row(tally, stats)
        if (now := time.monotonic()) - last >= NOTEBOOK_EVERY:
            last = now
            handle.update(board.bundle(), raw=True)

    prepared.on_row = on_row
    try:
        yield
    finally:
        handle.update(board.bundle(), raw=True)


@contextlib.contextmanager
def progress(
    prepared: Prepared,
    *,
    quiet: bool = False,
    verbose: bool = False,
    stream: TextIO | None = None,
) -> Iterator[None]:
    """Shows a run as it goes, on standard error unless another stream is given.

    Args:
        prepared: the run.
        quiet: shows nothing.
        verbose: a line for every row that leaves and every call that brings no reply, in place of
            the panel.
        stream: where to.
    """
    stream = stream or sys.stderr
    if quiet:
        yield
        return

    def say(line: str) -> None:
        print(line, file=stream, flush=True)

    if verbose:
        prepared.on_exit = lambda exit_: say(exit_line(exit_))
        prepared.on_fault = lambda request, error: say(
            fault_line(request, error)
        )
    board = Board(prepared)
    if stream.isatty() and not verbose:
        from rich.console import Console  # noqa: PLC0415 - only for terminals
        from rich.live import Live  # noqa: PLC0415

        prepared.on_row = board.on_row
        with Live(
            get_renderable=board.table,
            console=Console(file=stream),
            refresh_per_second=4,
            transient=True,
        ):
            yield
        return
    last_line = board.started

    def on_row(tally: Tally, stats: Stats) -> None:
        nonlocal last_line
        board.on_row(tally, stats)
        if (now := time.monotonic()) - last_line >= PLAIN_EVERY:
            last_line = now
            say(board.line())

    prepared.on_row = on_row
    yield
