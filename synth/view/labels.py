"""Labels that people give to rows: which rows to show, the file, and how far two people agree.

The file is the one that `synth calibrate` reads: whole rows with `is_correct`. A row that somebody
is unsure of stands in `<stem>.unsure.jsonl` beside it, since it says nothing of a critic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.inputs.seeds import read_rows, write_jsonl
from synth.statistics.agreement import krippendorff_alpha
from synth.statistics.intervals import wilson
from synth.view.rows import RunRows

# What a labeller may say, and how it stands in the file.
WORDS = {"yes": True, "no": False, "unsure": None}
# Rows of a stratum that are drawn at most.
_MOST_OF_ONE = 200
# Columns that the file adds to a row.
_ADDED = ("is_correct", "weight", "stratum", "row")


class Place(NamedTuple):
    """A row of a run, and the stratum that it was drawn from."""

    kind: str
    number: int
    stratum: str

    @property
    def name(self) -> str:
        """As the file and addresses name it."""
        return f"{self.kind}/{self.number}"


class Share(NamedTuple):
    """How many rows of a stratum are right.

    Attributes:
        rows: in the run.
        labelled: yes and no together.
        low, high: 95 % interval of the share.
    """

    stratum: str
    rows: int
    labelled: int
    right: int
    low: float
    high: float


def strata(rows: RunRows) -> dict[str, tuple[str, int]]:
    """Kind and size of the strata: the kept rows, and the dropped ones of each reason."""
    found = {}
    if rows.count("kept"):
        found["kept"] = ("kept", rows.count("kept"))
    reasons, _ = rows.codes("dropped")
    counts = np.bincount(reasons, minlength=1).tolist()
    for code, count in enumerate(counts):
        if count:
            name = f"dropped: {rows.reasons.names[code]}"
            found[name] = ("dropped", count)
    return found


def drawn(rows: RunRows, seed: int = 0) -> list[Place]:
    """Rows to label, one of each stratum in turn; the same for every labeller of a run."""
    random = np.random.default_rng(seed)
    columns: list[list[Place]] = []
    reasons, _ = rows.codes("dropped")
    for name, (kind, count) in strata(rows).items():
        reason = name.removeprefix("dropped: ")
        numbers = np.arange(count)
        if kind == "dropped":
            code = rows.reasons.code(reason)
            numbers = np.flatnonzero(reasons == code)
        size = min(count, _MOST_OF_ONE)
        chosen = random.choice(
            numbers,
            size,
            replace=False,
        )
        places = [Place(kind, int(number), name) for number in chosen]
        columns.append(places)
    turns = zip_longest(*columns)
    return [place for turn in turns for place in turn if place]


class Labels:
    """The labels of one person.

    Args:
        path: a .jsonl file; what it holds already counts.

    Raises:
        WrongUse: another ending, or a file with other rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix != ".jsonl":
            raise WrongUse(
                "--labels",
                str(path),
                "a file ending in .jsonl",
                "Name the file so.",
            )
        self._unsure = path.with_name(f"{path.stem}.unsure.jsonl")
        self.rows: dict[str, Fields] = {}
        for file in (path, self._unsure):
            for row in _read(file):
                self.rows[str(row["row"])] = row

    def next(self, places: Sequence[Place]) -> Place | None:
        """The first row that has no label."""
        unlabelled = (one for one in places if one.name not in self.rows)
        return next(unlabelled, None)

    def say(self, rows: RunRows, place: Place, word: str) -> None:
        """Labels a row, or labels it anew, and writes the files whole."""
        whole = rows.row(place.kind, place.number)
        fields = {name: whole[name] for name in whole if name != "meta"}
        self.rows[place.name] = {
            **fields,
            "is_correct": WORDS[word],
            "weight": 1.0,
            "stratum": place.stratum,
            "row": place.name,
        }
        sizes = strata(rows)
        counts = self._counts()
        for row in self.rows.values():
            stratum = str(row["stratum"])
            size = sizes.get(stratum, ("", 0))[1]
            # How many rows of the run a labelled one stands for.
            row["weight"] = size / max(1, counts[stratum])
        write_jsonl(self.path, self._said(sure=True))
        write_jsonl(self._unsure, self._said(sure=False))

    def _said(self, *, sure: bool) -> Iterator[Fields]:
        for row in self.rows.values():
            if (row["is_correct"] is not None) == sure:
                yield row

    def _counts(self) -> Counter[str]:
        """Rows with yes or no, by stratum."""
        return Counter(str(row["stratum"]) for row in self._said(sure=True))

    def shares(self, rows: RunRows) -> list[Share]:
        """What the labels say of each stratum."""
        counts = self._counts()
        right = Counter(
            str(row["stratum"])
            for row in self._said(sure=True)
            if row["is_correct"]
        )
        shares = []
        for name, (_, size) in strata(rows).items():
            low, high = wilson(right[name], counts[name])
            share = Share(
                name,
                size,
                counts[name],
                right[name],
                low,
                high,
            )
            shares.append(share)
        return shares


def agreement(first: Labels, second: Labels) -> tuple[int, float | None]:
    """(rows that both labelled, Krippendorff's alpha of their yes and no)."""
    both = first.rows.keys() & second.rows.keys()
    units = [
        (
            first.rows[name]["is_correct"],
            second.rows[name]["is_correct"],
        )
        for name in sorted(both)
    ]
    sure = [unit for unit in units if None not in unit]
    return len(sure), krippendorff_alpha(sure)


def _read(path: Path) -> list[Fields]:
    if not path.is_file() or not path.stat().st_size:
        return []
    rows = list(read_rows(str(path)))
    for number, row in enumerate(rows, 1):
        missing = [name for name in _ADDED if name not in row]
        if missing:
            raise WrongUse(
                f"{path}: row {number}",
                f"no {', '.join(missing)}",
                "rows that `synth view --labels` wrote",
                "Give another file.",
            )
    return rows
