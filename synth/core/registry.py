"""A part is a file in a room: file name = name in YAML and on the command line = class name in
CamelCase.

A class's dataclass fields are its legal parameters. No decorator, no central list. Parts of the
user's own come by entry point or import string (`synth.core.plugins`); what is built in keeps its
name. Standard library only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from synth.core import plugins, strict_json
from synth.core.bare_words import read_like
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Fields, Values

# Counts reach libraries that count in 32 bits.
MOST = 2**31 - 1


@cache
def built_in(room: str) -> tuple[str, ...]:
    """The parts that a room (a dotted package) holds itself, sorted; files that start with `base`
    and `__init__` are none.
    """
    folder = Path(import_module(room).__path__[0])
    return tuple(
        sorted(
            f.stem
            for f in folder.glob("*.py")
            if not f.stem.startswith(("base", "__"))
        )
    )


def names(room: str) -> tuple[str, ...]:
    """The parts of a room and those that installed packages add to it, sorted."""
    return tuple(sorted({*built_in(room), *plugins.installed(_group(room))}))


def class_name(name: str) -> str:
    """The class of a part: `answer_match` is AnswerMatch."""
    return "".join(word.capitalize() for word in name.split("_"))


def part_name(part: type[Any]) -> str:
    """What a class is called in rows and messages: its file where that has its name, else its own
    name in lower case.

    >>> part_name(type("MyFilter", (), {"__module__": "my_module"}))
    'my_filter'
    """
    file = part.__module__.rsplit(".", 1)[-1]
    if class_name(file) == part.__name__:
        return file
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part.__name__).lower()


def find(
    room: str,
    name: str,
    where: str = "",
    allowed: Collection[str] | None = None,
) -> type[Any]:
    """The class of a part.

    Args:
        room: a dotted package.
        name: of a part of the room, else of a part that an installed package announces, or
            `module:Class`.
        where: what names the part, for messages.
        allowed: modules that an import string may name; None where the user wrote it himself.

    Raises:
        WrongUse: no such part, with the nearest name; a module that is not allowed; or no part of
            this room.
    """
    if plugins.is_import(name):
        if allowed is not None:
            plugins.require_allowed(name, allowed, where or room)
        return _sound(room, plugins.imported(name, where or room), name, where)
    if name in built_in(room):
        part = getattr(import_module(f"{room}.{name}"), class_name(name))
        assert isinstance(part, type)  # noqa: S101 - a law test proves it for every file
        return part
    group = _group(room)
    if name in plugins.installed(group):
        part = plugins.announced(group, name, where or room)
        return _sound(room, part, name, where)
    kind = _kind(room)
    raise WrongUse(
        where or room,
        f"{kind} {name!r}",
        f"{_article(kind)} of this version",
        _form(name) or did_you_mean(name, names(room)),
    )


def _form(name: str) -> str:
    """How to write a part whose parameters, or whose module, were written into its name."""
    head, colon, rest = name.partition(":")
    if colon and "=" in rest:
        return _as_mapping(head, parse_spec(name))
    if "." in name:
        module, _, part = name.rpartition(".")
        return f"A part of your own is MODULE:Class: write {module}:{part}."
    return ""


def _as_mapping(name: str, parameters: Values) -> str:
    """A hint that spells a part as packs do."""
    text = f"name: {name}"
    for key, value in parameters.items():
        if key != "name":
            text += f", {key}: {value}"
    return f"Write {{{text}}}."


def _group(room: str) -> str:
    return room.rsplit(".", 1)[-1]


def _kind(room: str) -> str:
    """What a part of a room is called: `finetune.list_losses` has list losses."""
    word = _group(room).replace("_", " ")
    return word.removesuffix("es" if word.endswith("sses") else "s")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _sound(room: str, part: Any, name: str, where: str) -> type[Any]:
    """The part of somebody else's, once it is what the room holds."""
    wanted = class_name(_kind(room).replace(" ", "_"))
    base = getattr(import_module(f"{room}.base"), wanted)
    if isinstance(part, type) and part is not base and issubclass(part, base):
        return part
    raise WrongUse(
        where or room,
        f"{name!r}, which is {part!r}"[:200],
        f"a class that extends {room}.base.{wanted}",
        f"Write: class {getattr(part, '__name__', 'Mine')}({wanted}).",
    )


def types_of(part: type[Any]) -> Mapping[str, Any]:
    """The type of each parameter of a part."""
    return _types_of(cast("Hashable", part))


# Half a millisecond a part, and a pack names dozens.
@lru_cache(maxsize=512)
def _types_of(part: Hashable) -> Mapping[str, Any]:
    return get_type_hints(part)


def parameters(part: type[Any]) -> tuple[str, ...]:
    """Names of the legal parameters of a part, in order."""
    if not is_dataclass(part):
        return ()
    return tuple(
        f.name for f in fields(part) if f.init and not f.name.startswith("_")
    )


def build(
    room: str,
    spec: Values | str,
    where: str = "",
    allowed: Collection[str] | None = None,
) -> Any:
    """A part from `{"name": ..., parameter: value}` or `"name:parameter=value,..."`.

    Args:
        room: a dotted package.
        spec: the part; its name as `find` takes it.
        where: what names the part, for messages.
        allowed: modules that a file may name, a .json file of `spec` too; None where the user wrote
            the mapping himself.

    Raises:
        WrongUse: unknown name, unknown parameter, or a value of the wrong type.
    """
    if isinstance(spec, str):
        # What is typed is the user's own word; what a file says is not.
        allowed = (allowed or ()) if is_file(spec) else None
        spec = parse_spec(spec, where)
    if "name" not in spec and len(spec) == 1:
        # `{length: {field: answer}}`, or the same as an item of a list.
        ((head, given),) = spec.items()
        pairs = given if isinstance(given, Mapping) else {}
        raise WrongUse(
            where or room,
            f"{dict(spec)!r}"[:200],
            f"{_article(_kind(room))} with its `name`",
            _as_mapping(head, pairs),
        )
    name = str(spec.get("name", ""))
    part = find(room, name, where, allowed)
    given = {key: value for key, value in spec.items() if key != "name"}
    hints = types_of(part)
    for key, value in given.items():
        if key not in parameters(part):
            hint = did_you_mean(key, parameters(part))
            raise WrongUse(
                where or room,
                f"parameter {key!r} of {name}",
                "one that it has",
                hint,
            )
        spot = f"{where or room}: {name}.{key}"
        given[key] = _inner_part(value, hints[key], spot, allowed)
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


def room_within(hint: Any) -> str:
    """The room of the part that a parameter takes, as its class says in `room`; "" where it takes a
    plain value.
    """
    return str(getattr(hint, "room", ""))


def _inner_part(
    value: Any, hint: Any, where: str, allowed: Collection[str] | None
) -> Any:
    """The value of a parameter, which may be a part itself."""
    inner_room = room_within(hint)
    if not inner_room or isinstance(value, hint):
        return _cast(value, hint, where)
    if isinstance(value, str):
        # A file's text is a name and no more: it opens no file.
        value = {"name": value} if allowed is not None else parse_spec(value)
    if not isinstance(value, Mapping):
        kind = _kind(inner_room)
        raise WrongUse(
            where,
            f"{value!r}",
            _article(kind),
            f"Write the name of {_article(kind)}.",
        )
    part = build(inner_room, value, where, allowed)
    _sound(inner_room, type(part), str(value.get("name")), where)
    return part


def parse_spec(text: str, where: str = "") -> Fields:
    """`name:key=value,key=value`, or a .json file with such a mapping; values are JSON where they
    parse, text where not. A name may be an import string.

    >>> parse_spec("length:least=10,most=200"), parse_spec("my_module:MyFilter:least=10")
    ({'name': 'length', 'least': 10, 'most': 200}, {'name': 'my_module:MyFilter', 'least': 10})
    """
    if is_file(text):
        return _read_spec(Path(text), where)
    head = _IMPORTED.fullmatch(text)
    name, _, rest = text.partition(":")
    if head:
        name, rest = head[1], head[2] or ""
    spec: Fields = {"name": name.strip()}
    for pair in filter(None, _split_commas(rest)):
        key, equals, value = pair.partition("=")
        if not equals:
            raise WrongUse(
                where or text,
                f"{pair!r}",
                "key=value",
                "Write NAME:key=value,key=value.",
            )
        if key.strip() in spec:
            raise WrongUse(
                where or text,
                f"{key.strip()!r} for the second time",
                "each parameter once",
                "Take one of them out.",
            )
        spec[key.strip()] = scalar(value.strip())
    return spec


# `module:Class`, then nothing or its parameters.
_IMPORTED = re.compile(r"\s*([\w.]+:[A-Za-z_]\w*)\s*(?::(.*))?", re.DOTALL)


def is_file(text: str) -> bool:
    """Whether a part is spelt by the name of a .json file."""
    return text.endswith(".json") and ":" not in text


def _read_spec(path: Path, where: str) -> Fields:
    try:
        spec = strict_json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUse(
            where or str(path),
            f"{path}: {error}",
            "a file with {name: ..., parameter: value}",
            "Check the path.",
        ) from error
    if not isinstance(spec, dict) or "name" not in spec:
        raise WrongUse(
            where or str(path),
            f"no `name` in {path}",
            "{name: ..., parameter: value}",
            "`synth calibrate` writes such files.",
        )
    return spec


def scalar(text: str) -> Any:
    """A command-line value: JSON where it parses (3, true, [1,2], "x"), a list of such values where
    only its items do not, the text itself where nothing does.

    >>> scalar("[a, b 2, 3]"), scalar("a")
    (['a', 'b 2', 3], 'a')
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    if text.startswith("[") and text.endswith("]"):
        return [scalar(item.strip()) for item in _split_commas(text[1:-1])]
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
    if int in options and isinstance(value, int):
        wanted = f"{wanted}, at most {MOST:,} on both sides of 0"
    raise WrongUse(where, f"{value!r}", wanted, "Correct the value.")


def _fit(value: Any, hint: Any) -> tuple[bool, Any]:
    origin = get_origin(hint)
    if hint is Any:
        return True, value
    if hint in (bool, int, float):
        value = read_like(value, hint())
    if origin is Literal:
        return value in get_args(hint), value
    if origin is tuple:
        parts = [value] if isinstance(value, str) else value
        return _fit_each(parts, get_args(hint))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        is_finite = abs(value) <= sys.float_info.max
        return is_finite, float(value) if is_finite else value
    if (
        hint is str
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return True, str(value)
    if hint is int and isinstance(value, int) and abs(value) > MOST:
        return False, value
    base = NoneType if hint is None else (origin or hint)
    return isinstance(value, base) and not (
        isinstance(value, bool) and base in (int, float)
    ), value


def _fit_each(parts: Any, hints: tuple[Any, ...]) -> tuple[bool, Any]:
    """The same for a list whose elements have one hint (`str, ...`) or one hint each."""
    if not isinstance(parts, list | tuple):
        return False, parts
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(parts)
    if len(hints) != len(parts):
        return False, parts
    cast = []
    for part, hint in zip(parts, hints, strict=True):
        fits, value = _fit(part, hint)
        if not fits:
            return False, parts
        cast.append(value)
    return True, tuple(cast)


def _spell(hint: Any) -> str:
    if get_origin(hint) is tuple:
        first, *others = get_args(hint)
        many = f"{len(others) + 1} "
        if others == [Ellipsis]:
            many = ""
        return f"a list of {many}{_spell(first)}"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return getattr(hint, "__name__", str(hint))
