"""Values as a row may hold them: JSON's kinds, exact numbers, dates as ISO texts. What has no such
meaning is refused.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from synth.core import strict_json
from synth.core.errors import WrongUse
from synth.core.records import Fields

# orjson reads whole numbers beyond 64 bits as the nearest float; every such float is at least this
# large.
_BEYOND = 2.0**63
# Kinds of values that such a number cannot hide in.
_TEXTS = frozenset({str, int, bool, type(None)})
_SIMPLE = (str, int, float, bool, type(None))
# A key's colon behind white space that is more than one space.
_FAR = re.compile(rb'"(?! :)[ \t\n\r]+:')


class Base64(str):
    """Bytes that are no text, such as an image's, as base64: rows carry them along, no prompt shows
    them.
    """

    __slots__ = ()


def read_json(text: bytes, *, twins: bool = True) -> Any:
    """A JSON value with whole numbers exact at any size.

    Args:
        text: UTF-8.
        twins: whether an object that names one key twice is refused; the search takes as long as
            reading.

    Raises:
        ValueError: no JSON, NaN, or a key twice.

    >>> read_json(b'{"n": 36893488147419103233}')
    {'n': 36893488147419103233}
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if b"NaN" in text or b"Infinity" in text:
            raise ValueError(
                "NaN or Infinity, which JSON does not have; write null"
            ) from error
        raise
    # A key is followed by a colon. Colons in texts count too: then a slower look decides.
    colons = text.count(b":")
    plain = type(value) is dict and _TEXTS.issuperset(map(type, value.values()))
    if plain and len(value) == colons:
        return value
    near = text.count(b'":')
    if colons != near:
        colons = near + text.count(b'" :') + _spaced(text)
    if plain and len(value) == colons:
        return value
    try:
        keys, odd = _look(value)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return (
        _read_exactly(text, twins=twins)
        if odd or (twins and keys != colons)
        else value
    )


def _spaced(text: bytes) -> int:
    """Keys that stand farther from their colon than a single space."""
    if not (
        b" :" in text or b"\t:" in text or b"\n:" in text or b"\r:" in text
    ):
        return 0
    return sum(1 for _ in _FAR.finditer(text))


def _look(value: Any) -> tuple[int, bool]:
    """(keys in a value, whether a float stands in it that may have been a whole number)."""
    kind = type(value)
    if kind is dict:
        keys = len(value)
        odd = False
        for part in value.values():
            if type(part) is not str:
                more, also = _look(part)
                keys = keys + more
                odd = odd or also
        return keys, odd
    if kind is list:
        keys = 0
        odd = False
        for part in value:
            if type(part) is not str:
                more, also = _look(part)
                keys = keys + more
                odd = odd or also
        return keys, odd
    return 0, kind is float and abs(value) >= _BEYOND


def _read_exactly(text: bytes, *, twins: bool) -> Any:
    """Python's reader: slower, with whole numbers of any size."""
    reader = strict_json.decoder() if twins else json.JSONDecoder()
    try:
        return reader.decode(text.decode())
    except strict_json.NotStrict as error:
        raise ValueError(f"the key {error} twice") from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def plain(row: Mapping[Any, Any], location: str) -> Fields:
    """A row of a table or of a Python program as JSON's kinds.

    Decimals become texts with all their digits, dates and times ISO texts, NaN becomes None,
    numpy's and pandas' values become Python's. Texts in bytes are decoded, other bytes become
    `Base64`.

    Raises:
        WrongUse: a value without a meaning in JSON, such as an object of a program; with the place
            and the column.
    """
    return {
        str(name): value
        if type(value) is str
        else _plain(value, location, str(name))
        for name, value in row.items()
    }


def _plain(value: Any, location: str, column: str) -> Any:
    kind = type(value)
    if kind is float:
        # NaN, how tables write a missing value.
        return None if value != value else value  # noqa: PLR0124
    if kind in _SIMPLE:
        return value
    if isinstance(value, int | float):
        # A kind of a program's own, such as an IntEnum.
        base = int if isinstance(value, int) else float
        return _plain(base(value), location, column)
    if isinstance(value, Mapping):
        return {
            str(name): _plain(part, location, column)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(part, location, column) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(
            (_plain(part, location, column) for part in value), key=repr
        )
    return _special(value, location, column)


def _special(value: Any, location: str, column: str) -> Any:
    if isinstance(value, decimal.Decimal):
        return format(value, "f") if value.is_finite() else None
    if isinstance(value, dt.datetime | dt.date | dt.time):
        # pandas' NaT is a datetime that differs from itself.
        return value.isoformat() if value == value else None  # noqa: PLR0124
    if isinstance(value, dt.timedelta):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value))
    for way in (
        "tolist",
        "isoformat",
        "to_list",
    ):  # numpy's scalars and arrays, pandas' and polars' values
        if callable(turn := getattr(value, way, None)):
            turned = turn()
            return (
                _plain(turned, location, column)
                if type(turned) is not type(value)
                else str(turned)
            )
    if isinstance(value, str):
        return value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if type(value).__name__ == "UUID":
        return str(value)
    todo = (
        "Turn it into text, a number or a list first, or leave the column out."
    )
    raise WrongUse(
        location,
        f"{column} holds a {type(value).__name__}",
        "values that JSON has",
        todo,
    )


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    return Base64(base64.b64encode(value).decode()) if "\0" in text else text
