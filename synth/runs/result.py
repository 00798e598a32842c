"""What a run came to, for who works in Python: its counts, its rows, a table and a picture."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from synth.core.errors import WrongUse
from synth.core.money import dollars
from synth.core.optional import require
from synth.core.records import Fields
from synth.inputs.seeds import read_rows
from synth.runs.absent import no_run
from synth.runs.card import tally_rows
from synth.runs.folder import load_parquet
from synth.runs.ownership import read_run

if TYPE_CHECKING:
    import datasets
    import pandas as pd

EXIT_FAILED = 3
EXIT_STOPPED = 5
_BAR = 240  # pixels of the longest bar
_CELL = "text-align: left; padding: 0 1em 0 0"


class Run:
    """A finished (or stopped) run: its folder, counts, and rows.

    Attributes:
        info: run.json.
        exit_code: 0 finished, 3 some rows failed, 4 budget, 5 provider or machine, 6 nothing kept,
            130 interrupted (129 by SIGHUP, 143 by SIGTERM).
        stopped: what ended the run early, or None.
    """

    def __init__(
        self,
        folder: Path,
        exit_code: int,
        stopped: str | None,
        info: Fields,
    ) -> None:
        self.folder = folder
        self.exit_code = exit_code
        self.stopped = stopped
        self.info = info

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """A run that is on the disk; nothing is asked. Its `exit_code` is 5 whatever stopped it.

        Raises:
            WrongUse: the folder holds no run.

        Example:
            >>> Run.load("nowhere")
            Traceback (most recent call last):
            synth.core.errors.WrongUse: nowhere: found no such file or folder; wanted a folder \
that `synth.run` wrote to. Known: ...
        """
        folder = Path(folder)
        info = read_run(folder)
        if not info:
            raise no_run(
                folder, "no run.json", "a folder that `synth.run` wrote to"
            )
        stopped = info.get("stopped")
        code = EXIT_FAILED if sum(info["counts"]["failed"].values()) else 0
        if stopped:
            code = EXIT_STOPPED
        return cls(folder, code, stopped, info)

    @property
    def counts(self) -> Fields:
        """asked, kept, dropped by reason, failed by class."""
        return dict(self.info["counts"])

    @cached_property
    def kept(self) -> datasets.Dataset:
        """The kept rows."""
        dataset: datasets.Dataset = load_parquet(self.folder / "data")
        return dataset

    @cached_property
    def dropped(self) -> datasets.Dataset:
        """The dropped rows with their `reason`."""
        dataset: datasets.Dataset = load_parquet(self.folder / "dropped")
        return dataset

    @cached_property
    def failed(self) -> list[Fields]:
        """The rows whose call failed, with the class in `reason`; the same run asks them again."""
        path = self.folder / "failed.jsonl"
        is_empty = not path.is_file() or not path.stat().st_size
        return [] if is_empty else list(read_rows(path))

    def to_pandas(self, rows: str = "kept") -> pd.DataFrame:
        """Rows as a data frame.

        Args:
            rows: `kept`, `dropped`, `failed`, or `tally`: a line for each exit and reason.

        Raises:
            WrongUse: another word.
        """
        import pandas as pd  # noqa: PLC0415 - half a second

        if rows == "tally":
            columns = ["exit", "reason", "rows"]
            return pd.DataFrame(tally_rows(self.counts), columns=columns)
        if rows == "failed":
            return pd.DataFrame(self.failed)
        if rows not in ("kept", "dropped"):
            raise WrongUse(
                "to_pandas",
                repr(rows),
                "kept, dropped, failed or tally",
                "Correct the word.",
            )
        frame: pd.DataFrame = getattr(self, rows).to_pandas()
        return frame

    def plot(self) -> Any:
        """A bar for each exit and reason, as matplotlib's Axes.

        Raises:
            WrongUse: matplotlib is not installed.
        """
        require("matplotlib", "demo", "Run.plot()")
        import pandas as pd  # noqa: PLC0415 - as above

        *exits, _ = tally_rows(self.counts)
        bars = pd.Series(
            [count for _, _, count in exits],
            [_label(kind, reason) for kind, reason, _ in exits],
        )
        axes = bars.plot.barh()
        axes.invert_yaxis()
        axes.set_xlabel("rows")
        return axes

    def __repr__(self) -> str:
        counts = self.counts
        text = f"{counts['kept']:,} kept of {counts['asked']:,} asked"
        if self.stopped:
            text += f", stopped: {self.stopped}"
        return f"Run({str(self.folder)!r}: {text})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the tally with bars, what it cost, where it lies."""
        asked = self.counts["asked"]
        lines = [
            _line(_label(kind, reason), count, asked)
            for kind, reason, count in tally_rows(self.counts)
        ]
        table = "".join(lines)
        cost = self.info["cost"]
        facts = [
            self.info["pack"]["name"],
            f"{cost['prompt_tokens']:,} tokens in",
            f"{cost['completion_tokens']:,} out",
            dollars(cost["usd"]),
            str(self.folder),
        ]
        if self.stopped:
            facts.append(f"stopped: {self.stopped}")
        note = escape(", ".join(facts))
        return f"<table>{table}</table><p>{note}</p>"


def _label(kind: str, reason: str) -> str:
    return f"{kind}: {reason}" if reason else kind


def _line(label: str, count: int, asked: int) -> str:
    """A row of the table, with a bar."""
    width = round(_BAR * count / max(1, asked))
    look = f"width: {width}px; height: 1em; background: #6b8fb5"
    cells = (
        escape(label),
        f"{count:,}",
        f'<div style="{look}"></div>',
    )
    row = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{row}</tr>"
