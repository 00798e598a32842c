"""The demo's results as a Markdown table and a plot."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from synth.statistics.intervals import wilson

TEACHERS = {
    "carry": "systematic: forgets 60 % of carries",
    "slips": "random slips: 30 % of steps",
    "gold": "gold answers, no teacher",
    "carry .45": "systematic: forgets 45 % of carries",
}
ORDER = ("carry", "gold", "slips", "carry .45")


def summarise(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per arm: pooled share over the seeds, its 95 % interval, and each seed's own
    share.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["teacher"], result["arm"]].append(result)
    lines = []
    for (teacher, arm), found in sorted(
        groups.items(), key=lambda group: ORDER.index(group[0][0])
    ):
        count = sum(r["rows"] for r in found)
        shares = [r["exact_match"]["share"] for r in found]
        tested = [int(r["tested"]) for r in found]
        low, high = wilson(
            round(sum(s * n for s, n in zip(shares, tested, strict=True))),
            sum(tested),
        )
        steps = [r["steps_right"]["share"] for r in found]
        lines.append(
            {
                "teacher": teacher,
                "arm": arm,
                "rows": count // len(found),
                "share": sum(shares) / len(shares),
                "low": low,
                "high": high,
                "shares": shares,
                "steps": sum(steps) / len(steps),
            }
        )
    return lines


def write_table(results: list[dict[str, Any]], folder: Path) -> str:
    """Writes table.md and plot.png; returns the table."""
    lines = summarise(results)
    seeds = sorted({r["seed"] for r in results})
    each = " | each seed" if len(seeds) > 1 else ""
    out = [
        (
            "| teacher | student learns from | rows | exact match (95 % interval) | every step "
            f"right{each} |"
        ),
        "|---|---|---:|---|---:|" + "---|" * bool(each),
    ]
    for line in lines:
        shares = (
            " | " + ", ".join(f"{s:.2f}" for s in line["shares"])
            if each
            else ""
        )
        out.append(
            f"| {TEACHERS[line['teacher']]} | {line['arm']} | {line['rows']:,} | "
            f"{line['share']:.2f} "
            f"({line['low']:.2f} to {line['high']:.2f}) | {line['steps']:.2f}{shares} |"
        )
    table = "\n".join(out)
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    plot(lines, folder / "plot.png")
    return table


# Frozen after every arm had run on three seeds: (better, worse, least gap in exact match); None
# compares with nothing.
BARS = (
    (("carry", "right answer, every step right"), None, 0.95),
    (
        ("carry", "right answer, every step right"),
        ("carry", "unfiltered"),
        0.30,
    ),
    (("carry", "right answer"), ("carry", "unfiltered"), 0.25),
    (
        ("carry", "right answer, every step right"),
        ("gold", "right answers without rationale"),
        0.25,
    ),
    (("slips", "self-consistency of 8"), ("slips", "unfiltered"), 0.0),
    (
        ("carry .45", "the same, then DPO"),
        ("carry .45", "unfiltered, 800 steps"),
        0.03,
    ),
)


def check_bars(results: list[dict[str, Any]]) -> str:
    """Each bar with what was measured."""
    share = {
        (line["teacher"], line["arm"]): line["share"]
        for line in summarise(results)
    }
    out = []
    for better, worse, least in BARS:
        gap = share[better] - (share[worse] if worse else 0.0)
        over = f" over {', '.join(worse)}" if worse else ""
        out.append(
            f"{'holds' if gap >= least else 'FAILS'}: {', '.join(better)}{over}: {gap:.2f}, at "
            f"least {least:.2f}"
        )
    return "\n".join(out)


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    """One bar per arm with its interval and, where there are several, a dot per seed."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    colours = dict(
        zip(ORDER, ("#c0583a", "#8a8a86", "#3a6ea5", "#7a5aa0"), strict=True)
    )
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(lines) + 1.6))
    for height, line in enumerate(reversed(lines)):
        axes.barh(
            height,
            line["share"],
            color=colours[line["teacher"]],
            height=0.62,
            alpha=0.85,
        )
        axes.plot(
            [line["low"], line["high"]],
            [height, height],
            color="black",
            linewidth=1.5,
        )
        axes.plot(
            line["shares"],
            [height] * len(line["shares"]),
            "o",
            color="black",
            markersize=3.5,
        )
        axes.text(
            max(line["high"], *line["shares"], 0.0) + 0.015,
            height,
            f"{line['share']:.2f}",
            va="center",
        )
    axes.set_yticks(
        range(len(lines)), [line["arm"] for line in reversed(lines)]
    )
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("exact match on 300 held-out problems")
    axes.spines[["top", "right"]].set_visible(False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=colours[name]) for name in ORDER
    ]
    figure.legend(
        handles,
        [TEACHERS[name] for name in ORDER],
        loc="lower center",
        ncol=2,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, dpi=130)
