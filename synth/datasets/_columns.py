"""The columns of a run's files, fixed before the first call, so that every batch and every rerun has the same types."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from synth.records import Row
from synth.seeds import Scan

META = pa.struct(
    {
        "pack": pa.string(), "pack_hash": pa.string(), "step": pa.string(), "teacher": pa.string(), "draw": pa.int32(),
        "key": pa.string(), "finish_reason": pa.string(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64(),
        "logprob": pa.float64(), "taint": pa.list_(pa.string()),
        "verdicts": pa.list_(pa.struct({"filter": pa.string(), "keep": pa.bool_(), "reason": pa.string(), "marks": pa.string()})),
    }
)  # fmt: skip
_TEXT = pa.string()


class _NoPandas:
    """While it stands in `sys.meta_path`, pandas cannot be found."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG004
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _leave_pandas_out() -> None:
    """Before its first array pyarrow looks for pandas (0.25 s, 40 MB); hidden once, it is loaded when something needs it."""
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(_NoPandas)


_leave_pandas_out()


@cache
def _atoms() -> dict[frozenset[type], Any]:
    pairs = {str: _TEXT, bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return {**{frozenset({kind}): arrow for kind, arrow in pairs.items()}, frozenset({int, float}): pa.float64()}


class Columns:
    """The schema of kept and dropped rows, and the one way a row becomes a line of it.

    Columns of one plain kind keep it; lists of one plain kind stay lists; anything mixed or nested is JSON text.

    Args:
        scan: what the seeds hold.
        rename: what seed columns are called on the line.
        produced: fields of the steps, with their kinds.
        rendered: whether the pack writes `prompt` and `completion`.
    """

    def __init__(self, scan: Scan, rename: Mapping[str, str], produced: Mapping[str, Any], *, rendered: bool) -> None:
        types: dict[str, Any] = {"id": _TEXT}
        for name, kinds in scan.kinds.items():
            if not name.endswith("[]"):
                types[rename.get(name, name)] = _arrow(kinds, scan.kinds.get(f"{name}[]", frozenset()))
        types.update({name: _produced(kind) for name, kind in produced.items()})
        types.update(dict.fromkeys(("reply", *(("prompt", "completion") if rendered else ())), _TEXT))
        types["meta"] = META
        self.kept = pa.schema([(name, arrow or _TEXT) for name, arrow in types.items()])
        self.dropped = pa.schema([*self.kept, ("reason", _TEXT), ("detail", _TEXT)])
        self._as_text: dict[str, Callable[[Any], str]] = {name: _spell for name, arrow in types.items() if arrow is None}

    def line(self, row: Row) -> Row:
        """The row with mixed and nested values spelled as text."""
        if not self._as_text:
            return row
        spelled = {name: spell(row[name]) for name, spell in self._as_text.items() if row.get(name) is not None}
        return {**row, **spelled}


def _arrow(kinds: frozenset[type], inner: frozenset[type]) -> Any:
    """The arrow type of a column, or None where it must be spelled as text."""
    kinds, inner = kinds - {type(None)}, inner - {type(None)}
    if kinds == {list}:
        element = _atoms().get(inner) if inner else _TEXT
        return pa.list_(element) if element is not None else None
    return _TEXT if not kinds else _atoms().get(kinds)


def _produced(kind: Any) -> Any:
    if isinstance(kind, dict):
        return pa.list_(pa.struct({name: _produced(k) or _TEXT for name, k in kind.items()}))
    return {"text": _TEXT, "number": pa.float64(), "bool": pa.bool_(), "list": pa.list_(_TEXT), "numbers": pa.list_(pa.float64())}.get(kind)


def _spell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
