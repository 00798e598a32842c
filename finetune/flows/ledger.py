"""One budget and one set of replies for all runs of a flow, wherever their journals lie."""

from __future__ import annotations

from pathlib import Path

from synth.calls.journal import Journal

JOURNAL = "journal"


def run_folders(output: Path) -> list[Path]:
    """Folders of a flow whose runs have a journal, finished or not, in a fixed order."""
    logs = output.glob(f"*/*/{JOURNAL}/replies.log")
    return sorted(log.parent.parent for log in logs)


def spent(output: Path, but: Path | None = None) -> float:
    """Dollars of all runs of a flow but for that in one folder; calls of unknown fate count as
    spent.
    """
    usd = 0.0
    for folder in run_folders(output):
        if folder != but:
            journal = Journal(folder / JOURNAL, writable=False)
            usd += journal.totals.usd
    return usd


def left_for(folder: Path, output: Path, budget: float | None) -> float | None:
    """The budget of one run: what the others have not spent. None without a budget."""
    if budget is None:
        return None
    return max(0.0, budget - spent(output, folder))
