"""One budget and one set of replies for the runs of one piece of work, which lie in its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from synth.calls.journal import Journal
from synth.runs.ownership import read_run

JOURNAL = "journal"


def runs_in(output: Path) -> list[Path]:
    """Folders of all runs that have a journal, finished or not, in a fixed order."""
    logs = output.glob(f"*/*/{JOURNAL}/replies.log")
    return sorted(log.parent.parent for log in logs)


def spent(output: Path, but: Path | None = None) -> float:
    """Dollars of all runs but for that in one folder; calls of unknown fate count as
    spent.
    """
    usd = 0.0
    for folder in runs_in(output):
        if folder != but:
            journal = Journal(folder / JOURNAL, writable=False)
            usd += journal.totals.usd
    return usd


def are_priced(folders: Iterable[Path]) -> bool:
    """Whether the prices of all calls of runs are known: of others, what a journal counts is not
    their cost. A run that has not come to a record is not asked.
    """
    for folder in folders:
        cost = read_run(folder).get("cost")
        if cost and cost["usd"] is None:
            return False
    return True


def cost_of(output: Path) -> float | None:
    """Dollars of all runs; None where the price of one's calls is not known."""
    folders = runs_in(output)
    if not are_priced(folders):
        return None
    return spent(output)


def left_for(folder: Path, output: Path, budget: float | None) -> float | None:
    """The budget of one run: what the others have not spent. None without a budget."""
    if budget is None:
        return None
    return max(0.0, budget - spent(output, folder))
