"""What a file of `synth seeds`, and the key `seeds` of a pack, may say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from synth.inputs.strict_model import Name, Strict, no_names, no_parts

MOST_ROWS = 1_000_000
MOST_VALUES = 10_000
# Cells of a grid: each is weighed for each row that is left over.
MOST_CELLS = 2000
Weight = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Value = str | int | float | bool
Bound = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]


class TopicsSpec(Strict):
    """Topics: nouns of WordNet below one noun."""

    below: str = Field(
        description="A noun whose kinds are taken, down to the last.",
        examples=["occupation"],
    )
    wordnet: str | None = Field(
        default=None,
        description="Folder with WordNet's `data.noun`; without it, the one of nltk's data.",
        examples=["/usr/share/wordnet"],
    )


class RowsSpec(Strict):
    """Rows of a dataset, as examples of style."""

    file: str = Field(
        description="Rows, as `--input` of `synth run` reads them.",
        examples=["reviews.jsonl"],
    )
    column: Name = Field(
        description="Column of the text.",
        examples=["text"],
    )
    most: Annotated[int, Field(ge=1, le=64)] = Field(
        default=3,
        description="Texts that each row gets, as a list.",
        examples=[2],
    )


class ColumnSpec(Strict):
    """How one column is drawn: by just one of these keys, or by `by` with `when`."""

    values: list[Value] | dict[str, Weight] | None = Field(
        default=None,
        description="Values of equal shares, or values with their weights.",
        examples=[{"easy": 50, "medium": 30, "hard": 20}],
    )
    number: tuple[Bound, Bound] | None = Field(
        default=None,
        description="The least and the largest number; all between them are equally likely.",
        examples=[[18, 90]],
    )
    decimals: Annotated[int, Field(ge=0, le=9)] = Field(
        default=0,
        description="Digits behind the point of a `number`.",
        examples=[2],
    )
    date: tuple[dt.date, dt.date] | None = Field(
        default=None,
        description="The first and the last day.",
        examples=[["1990-01-01", "2005-12-31"]],
    )
    by: Name | None = Field(
        default=None,
        description="An earlier column on whose value the column depends.",
        examples=["level"],
    )
    when: dict[str, ColumnSpec] = Field(
        default_factory=no_names,
        description="How the column is drawn for each value of `by`; `else` for all others.",
        examples=[{"easy": {"values": ["sum"]}, "else": {"values": ["proof"]}}],
    )
    persona: dict[Name, ColumnSpec] | None = Field(
        default=None,
        description="Attributes of a person, each a column of its own kind; `by` of one of them "
        "names another.",
        examples=[{"age": {"number": [18, 90]}, "job": {"values": ["nurse"]}}],
    )
    rows: RowsSpec | None = Field(
        default=None,
        description="Texts of a dataset, as examples of style.",
        examples=[{"file": "reviews.jsonl", "column": "text"}],
    )
    topics: TopicsSpec | None = Field(
        default=None,
        description="Nouns of WordNet.",
        examples=[{"below": "occupation"}],
    )

    @property
    def kind(self) -> str:
        """The one key that says how the column is drawn."""
        return next(self._kinds())

    def _kinds(self) -> Iterator[str]:
        for name in ("values", "number", "date", "by", "persona", "rows", "topics"):  # fmt: skip
            if getattr(self, name) is not None:
                yield name

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = list(self._kinds())
        if len(kinds) != 1:
            raise ValueError(
                "one of `values`, `number`, `date`, `by`, `persona`, `rows` and `topics`"
            )
        if bool(self.when) != (self.by is not None):
            raise ValueError("`by` and `when` together")
        if self.values is not None and not 1 <= len(self.values) <= MOST_VALUES:
            raise ValueError(f"1 to {MOST_VALUES:,} values")
        for pair in (self.number, self.date):
            if pair is not None and pair[0] > pair[1]:  # type: ignore[operator]
                raise ValueError("the smaller one first")
        return self

    def names(self) -> list[Any]:
        """The values that the column can have, where they are listed."""
        return list(self.values or ())

    def weights(self) -> list[float]:
        """The weight of each value."""
        if isinstance(self.values, dict):
            return list(self.values.values())
        return [1.0] * len(self.values or ())


class SeedsSpec(Strict):
    """How rows are made from nothing."""

    rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = Field(
        default=None,
        description="How many rows; `--rows` says another number.",
        examples=[1000],
    )
    seed: int = Field(
        default=0,
        description="Another seed, other rows; the same one, the same rows.",
        examples=[17],
    )
    grid: list[Name] = Field(
        default_factory=no_parts,
        description="Columns with `values` whose combinations all stand in the rows, as often as "
        "their weights say.",
        examples=[["domain", "level"]],
    )
    columns: Annotated[dict[Name, ColumnSpec], Field(min_length=1)] = Field(
        description="Columns in their order, each with the key that says how it is drawn.",
        examples=[{"domain": {"values": ["law", "cooking"]}}],
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_parents(self.columns)
        cells = 1
        for name in self.grid:
            column = self.columns.get(name)
            if column is None or column.values is None:
                raise ValueError(f"grid: {name} is no column with `values`")
            cells *= len(column.values)
        if len(set(self.grid)) < len(self.grid):
            raise ValueError("grid: a column twice")
        if cells > MOST_CELLS:
            raise ValueError(f"grid: {cells:,} cells; at most {MOST_CELLS:,}")
        for taken in ("id", "made"):
            if taken in self.columns:
                raise ValueError(f"columns: {taken} is written by itself")
        return self


def _check_parents(columns: dict[str, ColumnSpec]) -> None:
    """Raises ValueError where a column depends on one that does not stand before it."""
    before: set[str] = set()
    for name, column in columns.items():
        if column.by is not None and column.by not in before:
            raise ValueError(f"{name}: by: {column.by} is no earlier column")
        for one in column.when.values():
            if one.kind in ("by", "persona"):
                raise ValueError(f"{name}: `when` holds a plain column")
        if column.persona is not None:
            _check_parents(column.persona)
        before.add(name)
