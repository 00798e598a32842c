"""What the labels of some rows are, in words: for refusals of rows whose labels are all alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from synth.core.errors import WrongUse

RIGHT_AND_WRONG = ("right rows and wrong ones", "Label more rows.")
_SHOWN = 5


class Labelled(NamedTuple):
    """A row that has a label.

    Attributes:
        row: its number in the file, from 1.
        value: its cell as it stands there.
        is_right: what the cell says.
    """

    row: int
    value: object
    is_right: bool


def check_both_kinds(
    where: str,
    aim: str,
    taken: Sequence[Labelled],
    more: str = "",
    wanted: tuple[str, str] = RIGHT_AND_WRONG,
) -> None:
    """Refuses rows of which none is right, or none wrong.

    Args:
        where: the option, its file and the column.
        aim: what the rows are for: "train".
        taken: these rows.
        more: what else is to be known of the file, such as rows that were left out.
        wanted: what was wanted, and what to do.

    Raises:
        WrongUse: which rows were taken, and how often they say what.
    """
    if len({one.is_right for one in taken}) == 2:
        return
    found = f"no row to {aim} with"
    if taken:
        rows = numbered([one.row for one in taken])
        said = counted([one.value for one in taken])
        found = f"{rows} to {aim} with, which are all alike ({said})"
    raise WrongUse(
        where,
        f"{found}{more and f'; {more}'}",
        *wanted,
    )


def numbered(rows: Sequence[int]) -> str:
    """Rows by their numbers, the first of them.

    >>> numbered([3]), numbered([1, 2, 5, 6, 7, 9, 11])
    ('row 3', 'rows 1, 2, 5, 6, 7 and 2 more')
    """
    shown = ", ".join(map(str, rows[:_SHOWN]))
    more = len(rows) - _SHOWN
    return (
        f"row{'s' * (len(rows) > 1)} {shown}"
        f"{f' and {more:,} more' if more > 0 else ''}"
    )


def counted(values: Sequence[object]) -> str:
    """How often values stand in rows, the most frequent first.

    >>> counted([1, "yes", 1])
    "1 in 2 rows, 'yes' in 1 row"
    """
    counts = Counter(f"{value!r:.40}" for value in values)
    shown = [
        f"{value} in {count:,} row{'s' * (count > 1)}"
        for value, count in counts.most_common(_SHOWN)
    ]
    if len(counts) > _SHOWN:
        shown.append(f"{len(counts) - _SHOWN:,} other values")
    return ", ".join(shown)


def without(total: int, labelled: int) -> str:
    """How many rows of a file have no label; "" where all have one.

    >>> without(5, 3)
    '2 of 5 rows have none'
    """
    if total == labelled:
        return ""
    return f"{total - labelled:,} of {total:,} rows have none"
