"""Rows from nothing: columns drawn by quota, the same ones for the same words."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from synth.core.errors import WrongUse
from synth.core.records import Fields, canonical_json
from synth.inputs.made.quotas import Grid, quotas, spread_out
from synth.inputs.made.spec import ColumnSpec, SeedsSpec

# Texts of a column that needs more than its own words: of a dataset, of WordNet.
Sources = Mapping[str, Callable[[ColumnSpec], list[str]]]
ELSE = "else"


def made_rows(
    spec: SeedsSpec,
    rows: int | None = None,
    sources: Sources | None = None,
) -> Iterator[Fields]:
    """Rows with an `id`, the columns, and `made`: the recipe's digest, the row's number, and how
    each column was drawn.

    Shares hold by count: each value of a column stands in a number of rows that is within one of
    its share, and within one of its share among the rows of one value of the column that it depends
    on.

    Args:
        spec: the recipe.
        rows: how many, in place of the recipe's own number.
        sources: kind of column -> what lists its texts; a kind that is missing is refused.

    Raises:
        WrongUse: no number of rows, or a column that needs a source which is not there.
    """
    count = rows or spec.rows
    if count is None:
        raise WrongUse(
            "seeds",
            "no number of rows",
            "rows: N, or --rows N",
            "Say how many rows are wanted.",
        )
    words = canonical_json([spec.model_dump(mode="json"), count])
    digest = hashlib.sha256(words).hexdigest()[:12]
    drawing = _Drawing(spec, count, sources or {})
    columns = drawing.columns()
    how = {}
    for name, column in spec.columns.items():
        how[name] = column.kind
    for name in spec.grid:
        how[name] = "values in a grid"
    for number in range(count):
        row: Fields = {"id": f"{digest}-{number:06d}"}
        for name, values in columns.items():
            row[name] = values[number]
        row["made"] = {
            "recipe": digest,
            "row": number,
            "rows": count,
            "by": how,
        }
        yield row


class _Drawing:
    """The columns of one recipe."""

    def __init__(
        self,
        spec: SeedsSpec,
        rows: int,
        sources: Sources,
    ) -> None:
        self.spec = spec
        self.rows = rows
        self.sources = sources

    def rng(self, *words: str) -> random.Random:
        """Numbers of one column: another column takes none of them away."""
        return random.Random(" ".join((str(self.spec.seed), *words)))

    def columns(self) -> dict[str, list[Any]]:
        """The values of every column, in the order of the rows."""
        made = self._grid()
        return self._drawn(
            self.spec.columns,
            self.rows,
            made,
            "",
        )

    def _grid(self) -> dict[str, list[Any]]:
        """The columns of the grid, which are drawn together."""
        names = self.spec.grid
        if not names:
            return {}
        rng = self.rng("grid", *names)
        columns = [self.spec.columns[name] for name in names]
        sides = [column.weights() for column in columns]
        grid = Grid(sides, self.rows, rng)
        cells = list(grid.counts)
        counts = list(grid.counts.values())
        order = spread_out(counts, rng)
        out: dict[str, list[Any]] = {}
        for side, name in enumerate(names):
            values = columns[side].names()
            drawn = []
            for number in order:
                place = cells[number][side]
                drawn.append(values[place])
            out[name] = drawn
        return out

    def _drawn(
        self,
        columns: Mapping[str, ColumnSpec],
        rows: int,
        made: dict[str, list[Any]],
        path: str,
    ) -> dict[str, list[Any]]:
        """Columns in their order, behind those that are drawn already."""
        out: dict[str, list[Any]] = {}
        for name, column in columns.items():
            spot = f"{path}{name}"
            if name in made:
                out[name] = made[name]
            elif column.by is not None:
                out[name] = self._conditional(
                    column,
                    out[column.by],
                    spot,
                )
            else:
                out[name] = self._column(column, rows, spot)
        return out

    def _conditional(
        self,
        column: ColumnSpec,
        parents: Sequence[Any],
        spot: str,
    ) -> list[Any]:
        """A column that is drawn by itself among the rows of each value of another."""
        places: dict[str, list[int]] = {}
        for number, parent in enumerate(parents):
            name = str(parent)
            if name not in column.when:
                name = ELSE
            places.setdefault(name, []).append(number)
        out: list[Any] = [None] * len(parents)
        for name, numbers in places.items():
            inner = column.when.get(name)
            if inner is None:
                continue
            rows = len(numbers)
            drawn = self._column(
                inner,
                rows,
                f"{spot} {name}",
            )
            for number, value in zip(numbers, drawn, strict=True):
                out[number] = value
        return out

    def _column(
        self,
        column: ColumnSpec,
        rows: int,
        spot: str,
    ) -> list[Any]:
        """A column that depends on none."""
        rng = self.rng(spot)
        if column.values is not None:
            names = column.names()
            weights = column.weights()
            return _shared(names, weights, rows, rng)
        if column.persona is not None:
            inner = self._drawn(
                column.persona,
                rows,
                {},
                f"{spot}.",
            )
            people: list[Fields] = [{} for _ in range(rows)]
            for name, values in inner.items():
                for person, value in zip(people, values, strict=True):
                    person[name] = value
            return people
        if column.number is not None:
            return _numbers(column, rows, rng)
        if column.date is not None:
            return _days(column, rows, rng)
        return self._texts(column, rows, rng, spot)

    def _texts(
        self,
        column: ColumnSpec,
        rows: int,
        rng: random.Random,
        spot: str,
    ) -> list[Any]:
        """A column of texts from elsewhere: each text as often as any other."""
        source = self.sources.get(column.kind)
        if source is None:
            raise WrongUse(
                f"seeds.columns.{spot}",
                f"`{column.kind}`, which reads a file of the user's",
                "a column that a pack may draw by itself",
                "Write the recipe into a file for `synth seeds`.",
            )
        texts = source(column)
        if column.rows is None:
            weights = [1.0] * len(texts)
            return _shared(texts, weights, rows, rng)
        most = min(column.rows.most, len(texts))
        return [rng.sample(texts, most) for _ in range(rows)]


def _shared(
    values: Sequence[Any],
    weights: Sequence[float],
    rows: int,
    rng: random.Random,
) -> list[Any]:
    """Values by their weights, in a drawn order."""
    counts = quotas(weights, rows, rng)
    order = spread_out(counts, rng)
    return [values[place] for place in order]


def _parts(rows: int, rng: random.Random) -> list[float]:
    """Places between 0 and 1, one in each of as many equal parts as there are rows."""
    parts = []
    for number in range(rows):
        within = rng.random()
        parts.append((number + within) / rows)
    rng.shuffle(parts)
    return parts


def _numbers(
    column: ColumnSpec,
    rows: int,
    rng: random.Random,
) -> list[Any]:
    """Numbers that fill a range evenly."""
    assert column.number is not None  # noqa: S101 - the caller asked
    low, high = column.number
    drawn: list[Any] = []
    for part in _parts(rows, rng):
        if column.decimals:
            value = low + part * (high - low)
            drawn.append(round(value, column.decimals))
        else:
            first = int(low)
            whole = int(high) - first + 1
            drawn.append(first + int(part * whole))
    return drawn


def _days(
    column: ColumnSpec,
    rows: int,
    rng: random.Random,
) -> list[Any]:
    """Days that fill a span evenly, as YYYY-MM-DD."""
    assert column.date is not None  # noqa: S101 - the caller asked
    first, last = column.date
    days = (last - first).days + 1
    drawn = []
    for part in _parts(rows, rng):
        day = first + timedelta(int(part * days))
        drawn.append(day.isoformat())
    return drawn
