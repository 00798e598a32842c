"""A part is a file in a room: file name = name in YAML and on the command line = class name in
CamelCase.

A class's dataclass fields are its legal parameters. No decorator, no central list. Standard library
only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from synth.core.errors import WrongUse, did_you_mean


@cache
def names(room: str) -> tuple[str, ...]:
    """The parts of a room (a dotted package), sorted; files that start with `base` and `__init__`
    are none.
    """
    folder = Path(import_module(room).__path__[0])
    return tuple(
        sorted(
            f.stem
            for f in folder.glob("*.py")
            if not f.stem.startswith(("base", "__"))
        )
    )


def class_name(name: str) -> str:
    """The class of a part: `answer_match` is AnswerMatch."""
    return "".join(word.capitalize() for word in name.split("_"))


def find(room: str, name: str, where: str = "") -> type[Any]:
    """The class of a part.

    Raises:
        WrongUse: no such file in the room; the message suggests the nearest name.
    """
    kind = room.rsplit(".", 1)[-1].removesuffix("s")
    if name not in names(room):
        raise WrongUse(
            where or room,
            f"{kind} {name!r}",
            f"a {kind} of this version",
            did_you_mean(name, names(room)),
        )
    part = getattr(import_module(f"{room}.{name}"), class_name(name))
    assert isinstance(part, type)  # noqa: S101 - a law test proves it for every file
    return part


def parameters(part: type[Any]) -> tuple[str, ...]:
    """Names of the legal parameters of a part, in order."""
    return tuple(
        f.name for f in fields(part) if f.init and not f.name.startswith("_")
    )


def build(room: str, spec: Mapping[str, Any] | str, where: str = "") -> Any:
    """A part from `{"name": ..., parameter: value}` or `"name:parameter=value,..."`.

    Raises:
        WrongUse: unknown name, unknown parameter, or a value of the wrong type.
    """
    spec = parse_spec(spec, where) if isinstance(spec, str) else spec
    name = str(spec.get("name", ""))
    part = find(room, name, where)
    given = {key: value for key, value in spec.items() if key != "name"}
    hints = get_type_hints(part)
    for key, value in given.items():
        if key not in parameters(part):
            hint = did_you_mean(key, parameters(part))
            raise WrongUse(
                where or room,
                f"parameter {key!r} of {name}",
                "one that it has",
                hint,
            )
        given[key] = _cast(value, hints[key], f"{where or room}: {name}.{key}")
    try:
        return part(**given)
    except (TypeError, ValueError) as error:
        if isinstance(error, WrongUse):
            raise
        raise WrongUse(
            where or room,
            f"{name} with {given}",
            f"{name}({', '.join(parameters(part))})",
            f"{error}.",
        ) from error


def parse_spec(text: str, where: str = "") -> dict[str, Any]:
    """`name:key=value,key=value`, or a .json file with such a mapping; values are JSON where they
    parse, text where not.

    >>> parse_spec("length:least=10,most=200")
    {'name': 'length', 'least': 10, 'most': 200}
    """
    if text.endswith(".json") and ":" not in text:
        return _read_spec(Path(text), where)
    name, _, rest = text.partition(":")
    spec: dict[str, Any] = {"name": name.strip()}
    for pair in filter(None, _split_commas(rest)):
        key, equals, value = pair.partition("=")
        if not equals:
            raise WrongUse(
                where or text,
                f"{pair!r}",
                "key=value",
                "Write NAME:key=value,key=value.",
            )
        spec[key.strip()] = scalar(value.strip())
    return spec


def _read_spec(path: Path, where: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUse(
            where or str(path),
            f"{path}: {error}",
            "a file with {name: ..., parameter: value}",
            "Check the path.",
        ) from error
    if not isinstance(found, dict) or "name" not in found:
        raise WrongUse(
            where or str(path),
            f"no `name` in {path}",
            "{name: ..., parameter: value}",
            "`synth calibrate` writes such files.",
        )
    return found


def scalar(text: str) -> Any:
    """A command-line value: JSON where it parses (3, true, [1,2], "x"), the text itself where
    not.
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def _split_commas(text: str) -> list[str]:
    """Splits at commas that stand outside brackets and quotes."""
    parts = []
    depth = 0
    quoted = False
    start = 0
    for position, char in enumerate(text):
        quoted ^= char == '"'
        depth += 0 if quoted else (char in "[{") - (char in "]}")
        if char == "," and depth == 0 and not quoted:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _cast(value: Any, hint: Any, where: str) -> Any:
    """The value as the annotation wants it (lists become tuples, whole numbers floats), or
    WrongUse.
    """
    options = (
        get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    )
    for option in options:
        fits, cast = _fit(value, option)
        if fits:
            return cast
    wanted = " or ".join(_spell(o) for o in options)
    raise WrongUse(where, f"{value!r}", wanted, "Correct the value.")


def _fit(value: Any, hint: Any) -> tuple[bool, Any]:
    origin = get_origin(hint)
    if hint is Any:
        return True, value
    if origin is Literal:
        return value in get_args(hint), value
    if origin is tuple:
        parts = [value] if isinstance(value, str) else value
        return isinstance(parts, list | tuple), tuple(parts) if isinstance(
            parts, list | tuple
        ) else value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if (
        hint is str
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return True, str(value)
    base = NoneType if hint is None else (origin or hint)
    return isinstance(value, base) and not (
        isinstance(value, bool) and base in (int, float)
    ), value


def _spell(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return getattr(hint, "__name__", str(hint))
