"""Students as a Markdown table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synth.statistics.intervals import wilson


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the table.

    Attributes:
        name: the model, or what it learnt from.
        rows: that it learnt from; None for a model that learnt nothing here.
        precision: share of those rows whose label is the one of people; None likewise.
        hits: held-out sentences that it judges as people did, over all seeds.
        tested: held-out sentences, over all seeds.
    """

    name: str
    rows: int | None = None
    precision: float | None = None
    hits: int
    tested: int

    @property
    def share(self) -> float:
        """Of the held-out sentences, 0 to 1."""
        return self.hits / self.tested

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson(self.hits, self.tested)


def write_table(lines: Sequence[Line], folder: Path) -> str:
    """Writes table.md and plot.png; returns the table."""
    out = [
        "| model | rows | right among them | right on held-out sentences (95 % interval) |",
        "|---|---:|---:|---|",
    ]
    for line in lines:
        low, high = line.interval
        rows = "" if line.rows is None else f"{line.rows:,}"
        precision = "" if line.precision is None else f"{line.precision:.2f}"
        out.append(
            f"| {line.name} | {rows} | {precision} | "
            f"{line.share:.3f} ({low:.3f} to {high:.3f}) |"
        )
    table = "\n".join(out)
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    _plot(lines, folder / "plot.png")
    return table


def _plot(lines: Sequence[Line], path: Path) -> None:
    """A dot and its interval for each line."""
    import matplotlib as mpl  # noqa: PLC0415 - a second, for the picture alone

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 0.5 * len(lines) + 1.2))
    for height, line in enumerate(reversed(lines)):
        axes.plot(line.interval, [height, height], color="#8a8a86", linewidth=2)
        axes.plot([line.share], [height], "o", color="#3a6ea5")
    axes.set_yticks(range(len(lines)), [line.name for line in reversed(lines)])
    axes.set_xlabel("share of held-out sentences judged as people did")
    axes.set_xlim(0, 1)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
