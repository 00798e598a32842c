"""The columns of a run's files, fixed before the first call, so that every batch and every rerun
has the same types.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from synth.core.records import Fields, Row
from synth.inputs.seeds import BeyondFloat, BeyondInt, Scan
from synth.parsers.base import is_text

META = pa.struct(
    {
        "pack": pa.string(),
        "pack_hash": pa.string(),
        "step": pa.string(),
        "teacher": pa.string(),
        "draw": pa.int32(),
        "key": pa.string(),
        "finish_reason": pa.string(),
        "prompt_tokens": pa.int64(),
        "completion_tokens": pa.int64(),
        "logprob": pa.float64(),
        "mended": pa.string(),
        "taint": pa.list_(pa.string()),
        "verdicts": pa.list_(
            pa.struct(
                {
                    "filter": pa.string(),
                    "keep": pa.bool_(),
                    "reason": pa.string(),
                    "marks": pa.string(),
                }
            )
        ),
    }
)
_TEXT = pa.string()


class _NoPandas:
    """While it stands in `sys.meta_path`, pandas cannot be found."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG004
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _leave_pandas_out() -> None:
    """Before its first array pyarrow looks for pandas (0.25 s, 40 MB); hidden once, it is loaded
    when something needs it.
    """
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(_NoPandas)


_leave_pandas_out()


@cache
def _atoms() -> dict[frozenset[type], Any]:
    pairs = {str: _TEXT, bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return {
        **{frozenset({kind}): arrow for kind, arrow in pairs.items()},
        frozenset({int, float}): pa.float64(),
    }


class Columns:
    """The schema of kept and dropped rows, and the one way a row becomes a line of it.

    Columns of one plain kind keep it; lists of one plain kind stay lists; anything mixed or nested,
    and whole numbers that 64 bits cannot hold, are JSON text.

    Args:
        scan: what the seeds hold.
        rename: what seed columns are called on the line.
        produced: fields of the steps, with their kinds.
        rendered: whether the pack writes `prompt` and `completion`.
    """

    def __init__(
        self,
        scan: Scan,
        rename: Mapping[str, str],
        produced: Row,
        *,
        rendered: bool,
    ) -> None:
        types: Fields = {"id": _TEXT}
        for name, kinds in scan.kinds.items():
            if not name.endswith("[]"):
                types[rename.get(name, name)] = _arrow(
                    kinds, scan.kinds.get(f"{name}[]", frozenset())
                )
        types.update({name: _produced(kind) for name, kind in produced.items()})
        types.update(
            dict.fromkeys(
                ("reply", *(("prompt", "completion") if rendered else ())),
                _TEXT,
            )
        )
        types["meta"] = META
        self.kept = pa.schema(
            [(name, arrow or _TEXT) for name, arrow in types.items()]
        )
        self.dropped = pa.schema(
            [*self.kept, ("reason", _TEXT), ("detail", _TEXT)]
        )
        self._as_text: dict[str, Callable[[Any], Any]] = {
            name: spell for name, arrow in types.items() if arrow is None
        }
        self._as_text.update(
            {
                name: speller
                for name, kind in produced.items()
                if (speller := _speller(kind))
            }
        )

    def line(self, row: Row) -> Row:
        """The row with mixed and nested values spelled as text."""
        if not self._as_text:
            return row
        spelled = {
            name: spell(row[name])
            for name, spell in self._as_text.items()
            if row.get(name) is not None
        }
        return {**row, **spelled}

    def table(self, rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
        """The rows as columns.

        Raises:
            Misfit: a value that its column cannot hold.
        """
        try:
            return pa.Table.from_pylist(rows, schema=schema)
        except (
            pa.ArrowException,
            TypeError,
            ValueError,
            OverflowError,
            AttributeError,
        ) as error:
            raise Misfit(str(error)[:200]) from error

    def mend(self, row: Row, schema: pa.Schema) -> tuple[Row, str]:
        """A row that its columns can hold, and what had to be left out of it; half surrogate pairs
        become U+FFFD.
        """
        fits = {**row, **{field.name: None for field in schema}}
        left = []
        for field in schema:
            value = _whole(row.get(field.name))
            try:
                pa.array([value], field.type)
            except (
                pa.ArrowException,
                TypeError,
                ValueError,
                OverflowError,
                AttributeError,
            ):
                left.append(
                    f"{field.name} = {_whole(spell(value))[:80]} is no {field.type}"[
                        :200
                    ]
                )
            else:
                fits[field.name] = value
        return fits, "; ".join(left)


class Misfit(ValueError):
    """A value that its column cannot hold."""


def merged(fields: Iterable[tuple[str, Any]]) -> Fields:
    """Fields with their kinds; what is of several kinds in turn is `any`."""
    kinds: Fields = {}
    for name, kind in fields:
        kinds[name] = kind if kinds.get(name, kind) == kind else "any"
    return kinds


def _arrow(kinds: frozenset[type], inner: frozenset[type]) -> Any:
    """The arrow type of a column, or None where it must be spelled as text."""
    kinds, inner = (_in_64_bits(seen - {type(None)}) for seen in (kinds, inner))
    if kinds == {list}:
        element = _atoms().get(inner) if inner else _TEXT
        return pa.list_(element) if element is not None else None
    return _TEXT if not kinds else _atoms().get(kinds)


def _in_64_bits(kinds: frozenset[type]) -> frozenset[type]:
    """The kinds, where whole numbers that a float would round stand among whole numbers alone."""
    if BeyondFloat in kinds and not kinds & {float, BeyondInt}:
        return kinds - {BeyondFloat} | {int}
    return kinds


def _speller(kind: Any) -> Callable[[Any], Any] | None:
    """What spells the fields of `any` kind inside a list of objects; None where there are none."""
    if not isinstance(kind, Mapping):
        return None
    inside = {
        name: spell if _produced(k) is None else _speller(k)
        for name, k in kind.items()
    }
    spellers = {name: speller for name, speller in inside.items() if speller}
    if spellers:
        return lambda listed: [
            _spelled(element, spellers) for element in listed
        ]
    return None


def _spelled(element: Row, spellers: Mapping[str, Callable[[Any], Any]]) -> Row:
    return {
        **element,
        **{
            name: speller(element[name])
            for name, speller in spellers.items()
            if element.get(name) is not None
        },
    }


def column(values: Sequence[Any]) -> pa.Array:
    """Values as a column: of the type that they share, else as text."""
    whole = [_whole(value) for value in values]
    try:
        return pa.array(whole)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array(
            [None if value is None else _whole(spell(value)) for value in whole]
        )


def _whole(value: Any) -> Any:
    """A value whose texts UTF-8 can hold."""
    if isinstance(value, str):
        if is_text(value):
            return value
        return value.encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        )
    if isinstance(value, Mapping):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return value


def _produced(kind: Any) -> Any:
    if isinstance(kind, dict):
        return pa.list_(
            pa.struct({name: _produced(k) or _TEXT for name, k in kind.items()})
        )
    return {
        "text": _TEXT,
        "number": pa.float64(),
        "bool": pa.bool_(),
        "list": pa.list_(_TEXT),
        "numbers": pa.list_(pa.float64()),
    }.get(kind)


def spell(value: Any) -> str:
    """The JSON of what is no text; what JSON cannot say, as Python says it."""
    try:
        if isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return repr(type(value))
