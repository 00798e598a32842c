"""JSON Schemas of replies: held to bounds before anything is asked, and what they promise.

A schema may come from a stranger. What is taken is what endpoints can hold a reply to, written out
without references, so that its size bounds the work of checking it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row, canonical_json

# Bounds of one schema, once its references are written out: levels, schemas in it, characters.
MOST_DEPTH = 16
MOST_NODES = 1000
MOST_TEXT = 32_768
# Characters of a pattern, and the largest number of a bound: a server may build a grammar of it.
MOST_PATTERN = 256
MOST_COUNT = 10_000
# Keywords that hold a schema, a list of them, or a mapping of names to them.
_ONE = ("items", "additionalProperties")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = "properties"
_DEFINED = ("$defs", "definitions")
# Keywords whose value is a number from 0 on.
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
# Keywords that say something to other programs; they are left out.
_UNSENT = frozenset(
    {
        "$anchor",
        "contentEncoding",
        "contentMediaType",
        "deprecated",
        "discriminator",
        "readOnly",
        "writeOnly",
    }
)
# Keywords whose value is no schema.
_PLAIN = frozenset(
    {
        "$comment",
        "$schema",
        "const",
        "default",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maximum",
        "minimum",
        "multipleOf",
        "pattern",
        "required",
        "title",
        "type",
        "uniqueItems",
        *_COUNTS,
    }
)
# A repetition without an end of a group that repeats without an end: time grows as 2^length.
_REPEATED = lazy_pattern(
    r"\((?:[^()\\]|\\.)*(?:[*+]|\{\d*,\})(?:[^()\\]|\\.)*\)(?:[*+]|\{\d*,\})"
)
_TAKEN = _PLAIN.union(_ONE, _MANY, (_NAMED, "$ref"))
_KINDS = {
    "string": "text",
    "number": "number",
    "integer": "number",
    "boolean": "bool",
}
_LISTS = {"text": "list", "number": "numbers"}
_WORDS = (
    "Answer with one JSON object that fits this JSON Schema, and write nothing before or after "
    "it:\n"
)


def held(schema: Any, *, loose: bool = False) -> Fields:
    """A schema of objects within bounds, with its references written out.

    Args:
        schema: a JSON Schema whose top is an object with properties.
        loose: whether keywords that no endpoint holds replies to are left out, since something else
            judges the replies too.

    Raises:
        ValueError: it is none, refers outside or to itself, or crosses a bound.

    Example:
        >>> held(
        ...     {
        ...         "type": "object",
        ...         "properties": {"name": {"$ref": "#/$defs/word"}},
        ...         "$defs": {"word": {"type": "string"}},
        ...     }
        ... )
        {'type': 'object', 'properties': {'name': {'type': 'string'}}}
    """
    if not isinstance(schema, Mapping):
        raise ValueError("a schema is a mapping")  # noqa: TRY004 - a pack's mistake
    written = _Writer(schema, loose).written(schema, "$", ())
    if written.get("type") != "object" or not written.get(_NAMED):
        raise ValueError(
            "the top of a schema is `type: object` with `properties`: each is a field"
        )
    text = len(canonical_json(written))
    if text > MOST_TEXT:
        raise ValueError(
            f"a schema of {text:,} characters; at most {MOST_TEXT:,}"
        )
    return written


class _Writer:
    """Copies a schema with its references in place."""

    def __init__(self, root: Row, loose: bool) -> None:
        self.root = root
        self.loose = loose
        self.nodes = 0

    def written(
        self,
        schema: Any,
        at: str,
        path: tuple[str, ...],
    ) -> Fields:
        """One schema within the whole.

        Args:
            schema: what stands there.
            at: its place, to say what is wrong.
            path: the references and keywords that led to it, of which none comes twice unless it
                is a keyword.
        """
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise ValueError(f"a schema of more than {MOST_NODES:,} parts")
        if len(path) > MOST_DEPTH:
            raise ValueError(f"{at}: deeper than {MOST_DEPTH} levels")
        if schema is True:
            return {}
        if not isinstance(schema, Mapping):
            raise ValueError(f"{at}: no schema: {schema!r}"[:200])  # noqa: TRY004
        if "$ref" in schema:
            return self._referred(schema, at, path)
        out: Fields = {}
        for key, value in schema.items():
            if key in _DEFINED or key in _UNSENT:
                continue
            # References inside the whole begin at its own base.
            if key == "$id" and schema is self.root:
                continue
            if self.loose and not _is_taken(key, value):
                continue
            out[key] = self._keyword(
                key,
                value,
                f"{at}.{key}",
                path,
            )
        return out

    def _keyword(
        self,
        key: Any,
        value: Any,
        at: str,
        path: tuple[str, ...],
    ) -> Any:
        """The value of one keyword."""
        deeper = (*path, str(key))
        if key == _NAMED:
            if not isinstance(value, Mapping):
                raise ValueError(f"{at}: no mapping of names to schemas")
            return {
                str(name): self.written(
                    inner,
                    f"{at}.{name}",
                    deeper,
                )
                for name, inner in value.items()
            }
        if key in _MANY:
            if not isinstance(value, list):
                raise ValueError(f"{at}: no list of schemas")
            return [
                self.written(
                    inner,
                    f"{at}[{place}]",
                    deeper,
                )
                for place, inner in enumerate(value)
            ]
        if key == "additionalProperties" and isinstance(value, bool):
            return value
        if key in _ONE:
            return self.written(value, at, deeper)
        if key not in _PLAIN:
            raise ValueError(
                f"{at}: a keyword that no endpoint holds replies to"
            )
        _check_plain(key, value, at)
        return value

    def _at(self, reference: str) -> Any:
        """What stands at a JSON pointer (RFC 6901) such as `#/$defs/a~1b`; None for nothing."""
        found: Any = self.root
        for part in unquote(reference[1:]).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal():
                found = dict(enumerate(found)).get(int(name))
            else:
                return None
        return found

    def _referred(
        self,
        schema: Row,
        at: str,
        path: tuple[str, ...],
    ) -> Fields:
        """What a reference stands for, with what is said beside it."""
        reference = str(schema["$ref"])
        if reference != "#" and not reference.startswith("#/"):
            raise ValueError(f"{at}: a reference outside: {reference[:80]}")
        if reference in path or reference == "#":
            raise ValueError(
                f"{at}: {reference[:80]} holds itself: a reply to it has no end. Write out the "
                "levels that you want"
            )
        found = self._at(reference)
        if found is None:
            raise ValueError(f"{at}: {reference[:80]} stands nowhere")
        beside = {key: part for key, part in schema.items() if key != "$ref"}
        meant = self.written(
            found,
            at,
            (*path, reference),
        )
        return {**meant, **self.written(beside, at, path)}


def _is_taken(key: Any, value: Any) -> bool:
    """Whether an endpoint can hold replies to a keyword; a pattern may be in words of Rust's that
    Python does not know.
    """
    if key not in _TAKEN:
        return False
    try:
        if key == "pattern":
            _check_plain(key, value, "")
    except ValueError:
        return False
    return True


def _check_plain(
    key: str,
    value: Any,
    at: str,
) -> None:
    """Raises ValueError where a keyword's value would cost without bound."""
    if key in _COUNTS and not (type(value) is int and 0 <= value <= MOST_COUNT):
        raise ValueError(f"{at}: {value!r}; 0 to {MOST_COUNT:,}"[:200])
    if key != "pattern":
        return
    if not isinstance(value, str) or len(value) > MOST_PATTERN:
        raise ValueError(
            f"{at}: a pattern has at most {MOST_PATTERN} characters"
        )
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{at}: no pattern: {error}") from error
    if _REPEATED.search(value):
        raise ValueError(
            f"{at}: a repetition of a repetition, whose time has no bound"
        )


def kinds(schema: Row) -> Fields:
    """The fields that replies to a schema have, with their kinds as parsers name them: `any` for
    what may be absent or of several kinds.

    >>> kinds(
    ...     {
    ...         "type": "object",
    ...         "required": ["name"],
    ...         "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    ...     }
    ... )
    {'name': 'text', 'age': 'any'}
    """
    needed = schema.get("required", ())
    return {
        name: _kind(inner) if name in needed else "any"
        for name, inner in schema[_NAMED].items()
    }


def _kind(schema: Row) -> Any:
    """The kind of one value."""
    named = schema.get("type")
    if named == "array":
        return _kind_of_list(schema.get("items") or {})
    if named is None and _are_texts(schema):
        return "text"
    return _KINDS.get(named, "any") if isinstance(named, str) else "any"


def _kind_of_list(element: Row) -> Any:
    """The kind of a list by the schema of its elements."""
    if element.get("type") != "object" or not element.get(_NAMED):
        kind = _kind(element)
        return _LISTS.get(kind, "any") if isinstance(kind, str) else "any"
    within = kinds(element)
    # An element that may lack a field has no kinds to promise.
    plain = all(
        name in element.get("required", ()) and isinstance(kind, str)
        for name, kind in within.items()
    )
    return within if plain else "any"


def _are_texts(schema: Row) -> bool:
    """Whether a schema without a type lists texts."""
    values = schema.get("enum", [schema.get("const")])
    return bool(values) and all(isinstance(value, str) for value in values)


def response_format(name: str, schema: Row) -> Fields:
    """The form that a provider is asked to hold a reply to; `strict` where OpenAI's strict mode
    takes the schema: every property is needed, and no other one may stand.
    """
    named = {"name": name, "schema": schema, "strict": _is_strict(schema)}
    return {"type": "json_schema", "json_schema": named}


def _is_strict(schema: Row) -> bool:
    """Whether every object in a schema has just the properties that it names."""
    if schema.get("type") == "object" or _NAMED in schema:
        names = list(schema.get(_NAMED, {}))
        if schema.get("additionalProperties") is not False:
            return False
        if sorted(schema.get("required", [])) != sorted(names):
            return False
    return all(map(_is_strict, _parts(schema)))


def _parts(schema: Row) -> Iterator[Row]:
    """The schemas within one."""
    yield from schema.get(_NAMED, {}).values()
    for key in _MANY:
        yield from schema.get(key, ())
    for key in _ONE:
        if isinstance(schema.get(key), Mapping):
            yield schema[key]


def in_words(schema: Row) -> str:
    """What a teacher is told where its endpoint holds replies to no schema.

    >>> print(in_words({"type": "object"}))
    Answer with one JSON object that fits this JSON Schema, and write nothing before or after it:
    {"type": "object"}
    """
    return _WORDS + json.dumps(schema, ensure_ascii=False)
