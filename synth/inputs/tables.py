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


def chosen(
    source: Any, places: Sequence[int], columns: Mapping[str, Sequence[str]]
) -> Any:
    """Rows of a table as a table of its kind: its own values, types and index, and columns of texts
    beside them.

    Args:
        source: a table; `kind_of` names its kind.
        places: of the rows, from 0, in the order wanted.
        columns: name -> a text for each of these rows; a column of this name is replaced.
    """
    choose = _CHOOSE[kind_of(source)]
    return choose(source, list(places), columns)


def _pandas(
    frame: Any, places: list[int], columns: Mapping[str, Sequence[str]]
) -> Any:
    import pandas as pd  # noqa: PLC0415 - the caller has it

    part = frame.iloc[places].copy()
    for name, texts in columns.items():
        # The array alone: rows keep an index of their own.
        part[name] = pd.Series(list(texts), dtype=str).array
    return part


def _polars(
    frame: Any, places: list[int], columns: Mapping[str, Sequence[str]]
) -> Any:
    import polars as pl  # noqa: PLC0415 - the caller has it

    texts = [
        pl.Series(name, list(values), dtype=pl.String)
        for name, values in columns.items()
    ]
    return frame.lazy().collect()[places].with_columns(texts)


def _pyarrow(
    table: Any, places: list[int], columns: Mapping[str, Sequence[str]]
) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - the caller has it

    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    part = table.take(pa.array(places, pa.int64()))
    for name, values in columns.items():
        if name in part.column_names:
            part = part.drop_columns([name])
        part = part.append_column(name, pa.array(list(values), pa.string()))
    return part


def _datasets(
    source: Any, places: list[int], columns: Mapping[str, Sequence[str]]
) -> Any:
    from datasets import (  # noqa: PLC0415 - the caller has it
        Dataset,
        Features,
        Value,
        concatenate_datasets,
    )

    if isinstance(source, Mapping):
        source = next(iter(source.values()))
    if not isinstance(source, Dataset):
        # A stream: it is read once more, as its own types have it.
        source = Dataset.from_list(list(source), features=source.features)
    before = [name for name in columns if name in source.column_names]
    part = source.remove_columns(before).select(places)
    texts = {name: list(values) for name, values in columns.items()}
    kinds = Features({name: Value("string") for name in columns})
    if not places:
        # Nothing is joined to nothing: the columns alone are named.
        whole = Features({**part.features, **kinds})
        return Dataset.from_dict({name: [] for name in whole}, features=whole)
    beside = Dataset.from_dict(texts, features=kinds)
    return concatenate_datasets([part, beside], axis=1)


_CHOOSE: dict[
    str, Callable[[Any, list[int], Mapping[str, Sequence[str]]], Any]
] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "datasets": _datasets,
}


def is_several(source: Any) -> bool:
    """Whether a source is a list of paths rather than of rows."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and not isinstance(source[0], Mapping)
    )
