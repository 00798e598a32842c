"""What a pack may say: data. What reaches a host, a model, a file or a limit is for the user to
say.

A pack is checked as it was read, before anything that the user says changes it: `--set
STEP.key=value` stays free.

A pack may name a part of the user's own: one that an installed package announces (the user
installed it), or by an import string of a module that the user allows (`--plugin`). A class of
somebody else's was not read when the list below was made, so what a pack may give it is a list,
too: the parameters that the class names in `data`. Where it names none, a pack gives what reaches
nothing by itself: numbers, switches, and single words such as names of columns. Paths, URLs,
commands and patterns are texts of more than a word. Names in GUARDED are guarded in every class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.records import Values
from synth.inputs.strict_model import NAME
from synth.packs.choice_schema import NAMED_ONES, kind_of_retrieve
from synth.packs.sampling_fields import KEYS, NAMED, SCHEMAS, SIMPLE
from synth.packs.tool_schema import SECONDS
from synth.search.index import BY_WORDS

Where = Callable[..., str]

_ROOMS = {"filters": "synth.filters", "parser": "synth.parsers"}
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_FORMAT = frozenset({"type", "json_schema", "schema"})
_FORMATS = ("text", "json_object", "json_schema")
_NAMED_SCHEMA = frozenset({"name", "description", "schema", "strict"})
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_MOST_DEPTH = 32

_NAME = re.compile(NAME)
# Fields of a row that a column name may be: what JSON replies call their keys, too.
_COLUMN = re.compile(r"[A-Za-z_][\w.-]{0,127}", re.ASCII)
# What a class of somebody else's may be given: no path, host, command or pattern is one.
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
# A question that is asked more often than this of one row is a mistake, or a way to spend.
MOST_VOTES = 64
MOST_DRAWS = 1024


def _same(value: Any, default: Any) -> bool:
    """The user's alone: a pack may only repeat what stands there anyway."""
    return type(value) is type(default) and bool(value == default)


def _at_most_default(value: Any, default: Any) -> bool:
    """A limit: a pack may lower it."""
    return _number(value) and 0 < value <= default


def _votes(value: Any, default: Any) -> bool:  # noqa: ARG001
    return _number(value) and 1 <= value <= MOST_VOTES


def _role(value: Any, default: Any) -> bool:  # noqa: ARG001
    """A role that `--teacher ROLE=T` fills, never a model."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _roles(value: Any, default: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MOST_VOTES
        and all(_role(role, default) for role in value)
    )


def _embedding(value: Any, default: Any) -> bool:
    """Words hashed to numbers need no model."""
    return value == "hashing" or _same(value, default)


def _schema(value: Any, default: Any) -> bool:  # noqa: ARG001
    """A schema, or the column of each row's own; never a file."""
    if isinstance(value, str):
        return _COLUMN.fullmatch(value) is not None and not value.endswith(
            ".json"
        )
    return isinstance(value, Mapping) and not _reaches_out(value)


def _number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


# Parameters of parts that are not data. Every other one is, and a law test holds the list of all.
GUARDED: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "unsafe_exec": (_same, "programs that are confined"),
    "seconds": (_at_most_default, "at most what the filter takes without it"),
    "megabytes": (_at_most_default, "at most what the filter takes without it"),
    "workers": (_at_most_default, "at most what the filter takes without it"),
    "concurrency": (_same, "a number of calls that the user allows"),
    "rpm": (_same, "a limit that the user names"),
    "tpm": (_same, "a limit that the user names"),
    "timeout": (_same, "seconds that the user names"),
    "patience": (_same, "seconds that the user names"),
    "endpoints": (_same, "an endpoint that the user names"),
    "header": (_same, "a key that the user names"),
    "fooled": (_at_most_default, "at most what the filter takes without it"),
    "votes": (_votes, f"1 to {MOST_VOTES}"),
    "orders": (_votes, f"1 to {MOST_VOTES}"),
    "teacher": (_role, "a role, for which the user names the model"),
    "panel": (_roles, "roles, for which the user names the models"),
    "model": (_same, "a model that the user names"),
    "nli": (_same, "a model that the user names"),
    "student": (_same, "a model that the user names"),
    "reference": (_same, "a model that the user names"),
    "embedding": (_embedding, "`hashing`, or a model that the user names"),
    "against": (_same, "files that the user names"),
    "schema": (_schema, "a schema without outer references, or a column"),
    "journal": (_same, "a folder that the user names"),
    "api_base": (_same, "an endpoint that the user names"),
    "api_key_env": (_same, "a key that the user names"),
    "price": (_same, "a price that the user names"),
    "budget": (_same, "dollars that the user names"),
    "promise": (_same, "a promise that `synth calibrate` gave to this user"),
}


def check(
    raw: Values,
    where: Where,
    packs: Collection[str],
    allowed: Collection[str] = (),
) -> None:
    """Refuses what a pack, as it was read, has no right to say.

    Args:
        raw: pack.yaml; other mistakes in its shape are left to who reads it next.
        where: `pack.yaml:LINE` of a path in it.
        packs: names of the built-in packs, which filters may ask with.
        allowed: modules of the user's whose parts it may name by import string.

    Raises:
        WrongUse: with the line, and how the user may say it.
    """
    _check_lists(raw, where)
    steps = raw.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, Mapping):
            _Step(step, ("steps", index), where, packs, allowed).check()


def _check_lists(raw: Values, where: Where) -> None:
    """How rows are looked up, and how many questions a constant can make of one row."""
    for key, at, block in _choices(raw):
        by = block.get("by", "bm25")
        if by not in (*BY_WORDS, "hashing"):
            todo = (
                f"Take it out; a user who wants it says --set {key}.by=MODEL."
            )
            raise WrongUse(
                where(*at, "by"),
                f"by: {by!r}"[:200],
                f"{', '.join(BY_WORDS)} or hashing: a pack is data",
                todo,
            )
    constants = raw.get("constants")
    for name, value in (
        constants.items() if isinstance(constants, Mapping) else ()
    ):
        if isinstance(value, list) and len(value) > MOST_DRAWS:
            todo = "Let the user bring them as an input."
            raise WrongUse(
                where("constants", name),
                f"{len(value):,} elements",
                f"at most {MOST_DRAWS:,}",
                todo,
            )


def _choices(raw: Values) -> Iterator[tuple[str, tuple[Any, ...], Values]]:
    """(name for `--set`, place, block) of everything that chooses rows."""
    retrieve: Any = raw.get("retrieve")
    if kind_of_retrieve(retrieve) == NAMED_ONES:
        for name, block in retrieve.items():
            yield f"retrieve.{name}", ("retrieve", name), block
    elif isinstance(retrieve, Mapping):
        yield "retrieve", ("retrieve",), retrieve
    steps = raw.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        chosen = step.get("demonstrations") if isinstance(step, dict) else None
        if isinstance(chosen, Mapping):
            at = ("steps", index, "demonstrations")
            yield f"{step.get('name')}.demonstrations", at, chosen


class _Step:
    """The rights of one step."""

    def __init__(
        self,
        step: Values,
        at: tuple[Any, ...],
        where: Where,
        packs: Collection[str],
        allowed: Collection[str],
    ) -> None:
        self.step = step
        self.at = at
        self.where = where
        self.packs = packs
        self.allowed = allowed
        self.name = str(step.get("name"))

    def check(self) -> None:
        draws = self.step.get("draws", 1)
        if _number(draws) and draws > MOST_DRAWS:
            self.refuse(("draws",), f"draws: {draws}", f"at most {MOST_DRAWS}")
        self.drawn(self.step, ())
        self.drawn(self.step.get("talk"), ("talk",))
        self.limits()
        if "response_format" in self.step:
            self.format(self.step["response_format"], ("response_format",))
        for key, room in _ROOMS.items():
            listed = self.step.get(key)
            for number, part in enumerate(
                listed if isinstance(listed, list) else [listed]
            ):
                spec = {"name": part} if isinstance(part, str) else part
                if isinstance(spec, Mapping):
                    self.part(room, (key, number), spec)

    def limits(self) -> None:
        """Seconds that the step's tools may take."""
        tools = self.step.get("tools")
        for place, tool in enumerate(tools if isinstance(tools, list) else []):
            seconds = tool.get("seconds", 0) if isinstance(tool, Mapping) else 0
            if not _number(seconds) or seconds > SECONDS:
                at = ("tools", place, "seconds")
                self.refuse(
                    at, f"seconds: {seconds!r}", f"at most {SECONDS:g} seconds"
                )

    def refuse(self, at: tuple[Any, ...], got: str, wanted: str) -> None:
        key = ".".join(str(part) for part in at if not isinstance(part, int))
        todo = f"Take it out; a user who wants it says --set {self.name}.{key}=VALUE."
        raise WrongUse(
            self.where(*self.at, *at),
            got[:200],
            f"{wanted}: a pack is data",
            todo,
        )

    def drawn(self, block: Any, at: tuple[str, ...]) -> None:
        """How the replies of a step, or of a second speaker, are drawn."""
        sampling = block.get("sampling") if isinstance(block, Mapping) else None
        extra = sampling.get("extra") if isinstance(sampling, Mapping) else None
        for name, value in extra.items() if isinstance(extra, Mapping) else ():
            self.sampling(name, value, (*at, "sampling", "extra", name))

    def sampling(self, name: Any, value: Any, at: tuple[Any, ...]) -> None:
        """One field of `sampling.extra`."""
        if name in NAMED:
            todo = f"Write sampling.{name}, where it is checked."
            raise WrongUse(
                self.where(*self.at, *at),
                f"{name} in extra",
                f"{name} beside it",
                todo,
            )
        declared = {
            *SIMPLE,
            *SCHEMAS,
            *KEYS,
            "logit_bias",
            "tools",
            "tool_choice",
            "response_format",
        }
        if name not in declared:
            self.refuse(
                at,
                f"sampling.extra field {name!r}",
                "a sampling field that a backend documents",
            )
        if not _is_json(value):
            self.refuse(at, f"{name} = {value!r}", "plain JSON")
        if name == "response_format":
            self.format(value, at)
        elif name == "tools":
            self.tools(value, at)
        elif name == "tool_choice":
            fits = isinstance(value, str) or _is_function(
                value, frozenset({"name"})
            )
            self.require(fits, at, value, "auto, none, required or a function")
        elif name == "logit_bias":
            fits = isinstance(value, Mapping) and all(
                map(_number, value.values())
            )
            self.require(fits, at, value, "a mapping of tokens to numbers")
        elif name in SCHEMAS:
            self.require(
                not _reaches_out(value),
                at,
                value,
                "a schema without outer references",
            )
        elif name in KEYS:
            self.keyed(name, value, at)
        else:
            self.require(
                _is_simple(value),
                at,
                value,
                "a number, a switch, a text or a list of them",
            )

    def require(
        self, fits: bool, at: tuple[Any, ...], value: Any, wanted: str
    ) -> None:
        if not fits:
            self.refuse(at, f"{at[-1]} = {value!r}", wanted)

    def keyed(self, name: str, value: Any, at: tuple[Any, ...]) -> None:
        """A field with keys of its own."""
        self.require(isinstance(value, Mapping), at, value, "a mapping")
        for key, inner in value.items():
            if key not in KEYS[name]:
                self.refuse(
                    (*at, key),
                    f"{name}.{key}",
                    f"one of {', '.join(sorted(KEYS[name]))}",
                )
            fits = (
                not _reaches_out(inner) if key == "json" else _is_simple(inner)
            )
            self.require(
                fits,
                (*at, key),
                inner,
                "a plain value without outer references",
            )

    def format(self, value: Any, at: tuple[Any, ...]) -> None:
        """What a reply must look like."""
        if value is None:
            return
        kinds = (
            isinstance(value, Mapping)
            and value.keys() <= _FORMAT
            and value.get("type") in _FORMATS
        )
        self.require(
            kinds and _is_json(value),
            at,
            value,
            f"type: {', '.join(_FORMATS)}, and its schema",
        )
        named = value.get("json_schema")
        fits = named is None or (
            isinstance(named, Mapping) and named.keys() <= _NAMED_SCHEMA
        )
        self.require(
            fits,
            (*at, "json_schema"),
            named,
            f"only {', '.join(sorted(_NAMED_SCHEMA))}",
        )
        self.require(
            not _reaches_out(value),
            at,
            value,
            "a schema without outer references",
        )

    def tools(self, value: Any, at: tuple[Any, ...]) -> None:
        """Functions that a model may name; nothing calls them. Tools of a server reach hosts."""
        fits = isinstance(value, list) and all(
            _is_function(tool, _FUNCTION) for tool in value
        )
        self.require(
            fits,
            at,
            value,
            "a list of {type: function, function: {name, description, parameters}}",
        )
        self.require(
            not _reaches_out(value),
            at,
            value,
            "parameters without outer references",
        )

    def part(self, room: str, at: tuple[Any, ...], part: Values) -> None:
        """The parameters of a filter or a parser, or of a part that one of them takes."""
        name = part.get("name")
        if not isinstance(name, str):
            return  # whoever builds it says so
        kind = registry.find(
            room,
            name,
            self.where(*self.at, *at),
            self.allowed,
        )
        legal = {
            field.name: field
            for field in (fields(kind) if is_dataclass(kind) else ())
        }
        for parameter, value in part.items():
            if parameter == "pack":
                self.require(
                    value in self.packs,
                    (*at, parameter),
                    value,
                    "the name of a built-in pack",
                )
            elif parameter in legal:
                self.parameter(at, name, kind, legal[parameter], value)

    def parameter(
        self,
        at: tuple[Any, ...],
        name: str,
        kind: type[Any],
        field: Field[Any],
        value: Any,
    ) -> None:
        """One parameter of a filter or a parser."""
        default = None if field.default is MISSING else field.default
        inner_room = registry.room_within(registry.types_of(kind)[field.name])
        if inner_room:
            inner = {"name": value} if isinstance(value, str) else value
            if isinstance(inner, Mapping):
                self.part(inner_room, (*at, field.name), inner)
            return
        if field.name in GUARDED:
            fits, wanted = GUARDED[field.name]
            given = fits(value, default)
        elif _is_ours(kind, field.name):
            return
        else:
            given = _is_data(kind, field.name, value, default)
            wanted = (
                f"a number, a switch or a word, or a parameter in `data` of "
                f"{kind.__name__}"
            )
        if given:
            return
        key, number, *inner_keys = at
        spot = number if ":" in name or "." in name or inner_keys else name
        path = ".".join(map(str, (key, spot, *inner_keys, field.name)))
        todo = f"Take it out; a user who wants it says --set {self.name}.{path}=VALUE."
        raise WrongUse(
            self.where(*self.at, *at, field.name),
            f"{name}: {field.name} = {value!r}"[:200],
            f"{wanted}: a pack is data",
            todo,
        )


def _is_ours(kind: type[Any], parameter: str) -> bool:
    """Whether this package defines a parameter, so that the law test of all parameters holds it."""
    for parent in kind.__mro__:
        if parameter in vars(parent).get("__annotations__", {}):
            return parent.__module__.startswith("synth.")
    return False


def _is_data(kind: type[Any], parameter: str, value: Any, default: Any) -> bool:
    """Whether a pack may give a value to a parameter of a class that is not of this package."""
    declared = getattr(kind, "data", None)
    if declared is not None:
        allowed = parameter in declared and _is_json(value)
        return allowed or _same(value, default)
    listed = value if isinstance(value, list) else [value]
    return all(map(_is_plain_word, listed)) or _same(value, default)


def _is_plain_word(value: Any) -> bool:
    if value is None or isinstance(value, bool) or _number(value):
        return True
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _is_function(tool: Any, keys: Collection[str]) -> bool:
    if (
        not isinstance(tool, Mapping)
        or set(tool) != {"type", "function"}
        or tool["type"] != "function"
    ):
        return False
    function = tool["function"]
    return (
        isinstance(function, Mapping)
        and isinstance(function.get("name"), str)
        and set(function) <= set(keys)
    )


def _is_simple(value: Any) -> bool:
    """A scalar, or a list of scalars."""
    listed = value if isinstance(value, list) else [value]
    return all(
        part is None or isinstance(part, str | int | float) for part in listed
    )


def _is_json(value: Any, depth: int = 0) -> bool:
    """Whether a value of YAML is one of JSON: no dates, bytes, NaN or keys that are no text."""
    if depth > _MOST_DEPTH:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and all(
            _is_json(part, depth + 1) for part in value.values()
        )
    if isinstance(value, list):
        return all(_is_json(part, depth + 1) for part in value)
    return value is None or isinstance(value, str | bool) or _number(value)


def _reaches_out(value: Any, depth: int = 0) -> bool:
    """Whether a schema refers to anything outside itself, or is nested too deep to say."""
    if depth > _MOST_DEPTH:
        return True
    if isinstance(value, Mapping):
        outer = (str(value[key]) for key in _REFERENCES if key in value)
        if any(not reference.startswith("#") for reference in outer):
            return True
        return any(_reaches_out(part, depth + 1) for part in value.values())
    return isinstance(value, list) and any(
        _reaches_out(part, depth + 1) for part in value
    )
