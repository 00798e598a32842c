"""What is said of a folder that holds no run, with the runs that it may have stood for."""

from __future__ import annotations

from pathlib import Path

from synth.core.errors import WrongUse
from synth.inputs.names import not_there

# Runs that are named; folders of them lie one or two levels below, as those of a flow do.
_MOST_NAMED = 3
_BELOW = ("*/run.json", "*/*/run.json")


def no_run(folder: str | Path, found: str, wanted: str) -> WrongUse:
    """That a folder holds no run.

    Args:
        folder: as it was named.
        found: what is missing in it, where it is there.
        wanted: what should stand there.

    Returns:
        An error that names runs below the folder, or what stands beside it where it is nowhere.
    """
    place = Path(folder)
    if not place.exists():
        return not_there(str(folder), str(place), wanted)
    runs: list[str] = []
    for pattern in _BELOW:
        runs += [str(path.parent) for path in sorted(place.glob(pattern))]
    todo = "Check the path."
    if runs:
        todo = f"Runs below it: {', '.join(runs[:_MOST_NAMED])}."
    return WrongUse(str(folder), found, wanted, todo)
