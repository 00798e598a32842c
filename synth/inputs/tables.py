"""Tables of a Python program: pandas, polars, pyarrow and `datasets` go in as rows and come out as
they went in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.inputs.values import plain

Row = Mapping[str, Any]


def kind_of(source: Any) -> str:
    """`pandas`, `polars`, `pyarrow`, `datasets`, or "" for plain rows; nothing is imported to find
    out.

    >>> kind_of([{"a": 1}])
    ''
    """
    room = type(source).__module__.partition(".")[0]
    return room if room in _ROWS else ""


def rows_in(source: Any) -> list[Fields]:
    """The rows of a table, or of an iterable of mappings, with plain values.

    Raises:
        WrongUse: what is no table, or a row that is no mapping.
    """
    kind = kind_of(source)
    try:
        rows = _ROWS[kind](source) if kind else iter(source)
    except TypeError as error:
        todo = (
            "Give a list of dicts, a DataFrame, a datasets.Dataset, or a path."
        )
        raise WrongUse(
            "input",
            f"a {type(source).__name__}",
            "rows",
            todo,
        ) from error
    return [_row(row, f"row {number}") for number, row in enumerate(rows, 1)]


def _row(row: Any, location: str) -> Fields:
    if not isinstance(row, Mapping):
        todo = (
            "Give a list of dicts, a DataFrame, a datasets.Dataset, or a path."
        )
        raise WrongUse(
            location,
            f"{type(row).__name__} {str(row)[:40]!r}",
            "an object with named fields",
            todo,
        )
    return plain(row, location)


def _of_pandas(frame: Any) -> Iterator[Any]:
    if getattr(frame, "ndim", 2) != 2 or not frame.columns.is_unique:
        raise WrongUse(
            "input",
            "a frame with two columns of one name, or a single column",
            "named columns, each once",
            "Rename them.",
        )
    return iter(frame.to_dict(orient="records"))


def _of_polars(frame: Any) -> Iterator[Any]:
    # A LazyFrame is collected first.
    whole = frame.collect() if hasattr(frame, "collect") else frame
    return iter(whole.iter_rows(named=True))


def _of_datasets(source: Any) -> Iterator[Any]:
    if isinstance(source, Mapping):  # DatasetDict
        if len(source) != 1:
            got = f"a DatasetDict with splits {', '.join(map(str, source))}"
            raise WrongUse(
                "input",
                got,
                "one dataset",
                "Give one of them, for example data['train'].",
            )
        return iter(next(iter(source.values())))
    return iter(source)


_ROWS: dict[str, Callable[[Any], Iterator[Any]]] = {
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": lambda table: iter(table.to_pylist()),
    "datasets": _of_datasets,
}


def like(source: Any, rows: Sequence[Row]) -> Any:
    """Rows as the kind of table that `source` is, with its columns where there are no rows; a list
    where it is none.
    """
    kind = kind_of(source)
    if not kind:
        return list(rows)
    if not rows:
        empty = _EMPTY[kind]
        return empty(source)
    make = _MAKE[kind]
    return make([dict(row) for row in rows])


def _pandas(rows: list[Fields]) -> Any:
    import pandas as pd  # noqa: PLC0415 - the caller has it

    return pd.DataFrame(rows)


def _polars(rows: list[Fields]) -> Any:
    import polars as pl  # noqa: PLC0415 - the caller has it

    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def _pyarrow(rows: list[Fields]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - the caller has it

    return pa.Table.from_pylist(rows)


def _datasets(rows: list[Fields]) -> Any:
    from datasets import Dataset  # noqa: PLC0415 - the caller has it

    return Dataset.from_list(rows)


def _no_rows(source: Any) -> Any:
    from datasets import Dataset  # noqa: PLC0415 - the caller has it

    if isinstance(source, Mapping):
        source = next(iter(source.values()))
    names = source.column_names or ()
    return Dataset.from_dict({name: [] for name in names})


_MAKE: dict[str, Callable[[list[Fields]], Any]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "datasets": _datasets,
}
# A table's columns without its rows.
_EMPTY: dict[str, Callable[[Any], Any]] = {
    "pandas": lambda frame: frame.iloc[:0],
    "polars": lambda frame: frame.lazy().collect().clear(),
    "pyarrow": lambda table: table.slice(0, 0),
    "datasets": _no_rows,
}


def is_several(source: Any) -> bool:
    """Whether a source is a list of paths rather than of rows."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and not isinstance(source[0], Mapping)
    )
