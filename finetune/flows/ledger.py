"""One budget and one set of replies for all runs of a flow, wherever their journals lie."""

from __future__ import annotations

from pathlib import Path

from synth.calls.journal import Journal

JOURNAL = "journal"


def run_folders(output: Path) -> list[Path]:
    """Folders of a flow whose runs have a journal, finished or not, in a fixed order."""
    logs = output.glob(f"*/*/{JOURNAL}/replies.log")
    return sorted(log.parent.parent for log in logs)


def spent(output: Path) -> float:
    """Dollars of all runs of a flow, calls of unknown fate counted as spent."""
    return sum(map(_spent_in, run_folders(output)))


def _spent_in(folder: Path) -> float:
    """Dollars of one run."""
    journal = Journal(folder / JOURNAL, writable=False)
    return journal.totals.usd


def left_for(folder: Path, output: Path, budget: float | None) -> float | None:
    """The budget of one run: what the others have not spent. None without a budget."""
    if budget is None:
        return None
    others = 0.0
    for other in run_folders(output):
        if other != folder:
            others += _spent_in(other)
    return max(0.0, budget - others)
