"""What the pools of a pack take of the rows that leave a run."""

from __future__ import annotations

from synth.core.errors import RowFault, Stopped
from synth.core.records import Exit
from synth.packs.library import Library
from synth.pipeline.walker import Tally


class Growth:
    """Takes exits in the order of the input.

    Args:
        library: the pack's, with its pools.
        rows: of the whole input.
        keeps_going: whether pools may grow over calls that failed.
    """

    def __init__(
        self, library: Library, rows: int, *, keeps_going: bool
    ) -> None:
        self.library = library
        self.rows = rows
        self.keeps_going = keeps_going

    def offer(self, exit_: Exit) -> Exit:
        """A kept row enters the pools, unless one has its text: then it is dropped."""
        if exit_.kind != "kept" or not self.library.pools:
            return exit_
        sample = exit_.sample
        values = self.library.pack.values(sample.fields)
        try:
            pool = self.library.offer(values)
        except RowFault as error:
            detail = str(error)[:300]
            return Exit("dropped", sample, "unrenderable", detail)
        if pool is None:
            return exit_
        return Exit("dropped", sample, "in_pool", f"pool {pool}")

    def left(self, tally: Tally) -> Stopped | None:
        """Lets the pools show more where it is time; what ends the run where calls failed, since
        later rows would be asked anew when these succeed.
        """
        if not self.library.left(tally.seeds):
            return None
        failed = tally.failed.total()
        left = self.rows - tally.seeds
        if not failed or left <= 0 or self.keeps_going:
            return None
        text = (
            f"{failed:,} calls failed, and the next {left:,} rows should see in a pool what comes "
            "of them; the same command asks them again, --keep-going goes on without them"
        )
        return Stopped("pool", text)
