"""Fields of one JSON object, in a code fence or in prose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.core.strict_json import MOST_CHARS, NotStrict, decoder
from synth.parsers.base import KINDS, Parser, Reply
from synth.replies import schemas
from synth.replies.lenient_json import LATEX, keep_backslashes, lenient
from synth.verifiers.json_schema import JsonSchema

_TRIES = 64
# An object that is no strict JSON is read once more, slowly; few stand in one reply.
_REPAIRS = 4
_BEGINS = lazy_pattern(
    r"""\{\s{0,200}(?:["'\u201c}]|[A-Za-z_]\w{0,80}\s?:|//|/\*|\#)"""
)
_SCHEMAS: dict[str, Fields] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array", "items": {"type": "string"}},
    "numbers": {"type": "array", "items": {"type": "number"}},
    "any": {},
}
_NUMBER = lazy_pattern(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?")


@dataclass(frozen=True, kw_only=True)
class JsonObject(Parser):
    r"""Reads the last JSON object of a reply that has all the keys asked for.

    | spelling | read |
    |---|---|
    | in a fence, in prose, several objects | the last object with the keys |
    | keys that nobody asked for | left out |
    | `{"a": "\\frac{1}{2}"}`, `"\\boxed{3}"`, `"\\times"` with two backslashes | one backslash |
    | the same with one backslash | one backslash; marked as mended |
    | trailing commas, comments, bare keys, raw line breaks | as meant; marked as mended |
    | single quotation marks, Python's words | as meant; marked as mended |
    | `"0.95"` where a number is asked for | 0.95; marked as mended |
    | cut off, a value missing, a key twice | unreadable: nothing is closed or invented |

    `synth.replies.lenient_json` has the whole table.

    Args:
        keys: field name -> kind (text, number, bool, list of texts, numbers, any), or for a list of
            objects their keys and kinds. Other keys are passed over.
        fits: in place of keys, a JSON Schema that the object must fit. Its properties are the
            fields; one that may be absent is None then. A step's `schema` says the same, and
            asks for it as well.

    Reasons:
        no_object: no JSON object in the reply.
        open_object: an object that never ends.
        doubled_key: a key stands twice (a judge could give two scores).
        missing_key: a key is absent.
        wrong_kind: a value is of another kind: a list holds more than texts, a number is not finite
            or beyond 2**53, a text is half a surrogate pair.
        misfit: the object does not fit the schema.

    Example:
        >>> JsonObject(keys={"score": "number"}).parse(
        ...     'So: {"score": 4, "why": "fine"} as asked', {}
        ... )
        {'score': 4}
        >>> JsonObject(keys={"names": {"name": "text"}}).parse(
        ...     '{"names": [{"name": "Ann", "age": 9}]}', {}
        ... )
        {'names': [{'name': 'Ann'}]}
    """

    keys: Row = field(default_factory=dict)
    fits: Row | None = None

    reasons: ClassVar[dict[str, str]] = {
        "no_object": "no JSON object",
        "open_object": "an object without end",
        "doubled_key": "a key twice",
        "missing_key": "a key is absent",
        "wrong_kind": "another kind",
        "misfit": "it does not fit its JSON Schema",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.keys) == (self.fits is not None):
            raise ValueError("either `keys` or `fits`")
        if self.fits is not None:
            # A schema that is none is said before the first call.
            JsonObject.misfit(self, {})
        for key, kind in self.keys.items():
            if isinstance(kind, Mapping):
                JsonObject(keys=kind)
            elif kind not in KINDS:
                raise ValueError(
                    f"kind {kind!r} of {key}; use one of {', '.join(KINDS)}"
                )

    def produces(self) -> Fields:
        """One field a key."""
        return dict(self._kinds)

    @cached_property
    def _held(self) -> Fields:
        """The schema of `fits`, within bounds."""
        return schemas.held(self.fits)

    @cached_property
    def _text(self) -> str:
        return json.dumps(self._held)

    @cached_property
    def _kinds(self) -> Row:
        return self.keys if self.fits is None else schemas.kinds(self._held)

    @cached_property
    def _wanted(self) -> list[str]:
        """The keys that an object must have."""
        if self.fits is None:
            return list(self.keys)
        return [
            key for key in self._kinds if key in self._held.get("required", ())
        ]

    def misfit(self, value: Fields) -> str:
        """Where an object does not fit the schema, and why; "" where it fits."""
        return JsonSchema().why(value, self._text)[1]

    def response_format(self, name: str) -> Fields:
        """The form that a provider is asked to hold replies to."""
        return schemas.response_format(name, self.schema())

    def schema(self) -> Fields:
        """The JSON Schema of the objects that this parser reads: that of `fits`, or all keys and no
        others, in their order. Under it a reply cannot be unreadable, but for the limit of
        tokens.
        """
        if self.fits is not None:
            return self._held
        properties = {key: _schema(kind) for key, kind in self.keys.items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def read(self, text: str, row: Row) -> Fields:
        return self.read_reply(Reply(text), row)

    def read_reply(self, reply: Reply, row: Row) -> Fields:  # noqa: ARG002
        fields = last_object(reply, set(self._wanted))
        missing = [key for key in self._wanted if key not in fields]
        if missing:
            raise Unreadable("missing_key", ", ".join(missing))
        read = {
            key: _unquoted(kind, fields.get(key), reply)
            for key, kind in self._kinds.items()
        }
        if self.fits is not None:
            there = {key: read.get(key, fields[key]) for key in fields}
            if problem := self.misfit(there):
                raise Unreadable("misfit", problem)
            return read
        read.update(
            {
                key: _only(names, read[key])
                for key, names in self._objects.items()
            }
        )
        return read

    @cached_property
    def _objects(self) -> dict[str, list[str]]:
        """The keys of a list of objects, by the field that holds the list."""
        return {
            key: list(kind)
            for key, kind in self.keys.items()
            if isinstance(kind, Mapping)
        }


def _schema(kind: Any) -> Fields:
    """The JSON Schema of one kind of value."""
    if isinstance(kind, Mapping):
        return {"type": "array", "items": JsonObject(keys=kind).schema()}
    return _SCHEMAS[kind]


def _only(names: list[str], value: Any) -> Any:
    """A list of objects without the keys that nobody asked for."""
    if not isinstance(value, list):
        return value
    return [_keys_of(names, element) for element in value]


def _keys_of(names: list[str], element: Any) -> Any:
    if not isinstance(element, dict):
        return element
    return {name: element[name] for name in names if name in element}


def _unquoted(kind: Any, value: Any, reply: Reply) -> Any:
    """A number that stands in quotation marks where a number was asked for."""
    if (
        kind != "number"
        or not isinstance(value, str)
        or not _NUMBER.fullmatch(value.strip())
    ):
        return value
    reply.mended.append(f"{value[:20]} in quotation marks is a number")
    return json.loads(value)


def last_object(reply: Reply, wanted: set[str]) -> Fields:
    """The last outermost object with the wanted keys, else the last object at all; what was changed
    to read it is marked.

    Raises:
        Unreadable: no object, one that never ends, or a doubled key in the one found.
    """
    text = reply.said[-MOST_CHARS:]
    at = text.find("{")
    without_latex = (
        text
        if at < 0 or "\\" not in text
        else text[:at] + keep_backslashes(text[at:])
    )
    candidates: list[tuple[Fields, list[str]]] = []
    tries = 0
    repairs = 0
    while at >= 0 and tries < _TRIES:
        tries += 1
        value = _strict(without_latex, at)
        end = at + 1
        changed = [LATEX] if without_latex != text else []
        if isinstance(value, tuple):
            candidates.append((value[0], changed))
            end = value[1]
        elif repairs < _REPAIRS and _BEGINS.match(without_latex, at):
            repairs += 1
            mended = lenient(without_latex, at)
            if mended is None:
                _refuse_open(candidates, wanted, reply, without_latex[at:])
                break
            end = mended[1]
            if isinstance(value := _strict(mended[0], 0), tuple):
                candidates.append((value[0], changed + mended[2]))
        at = without_latex.find("{", end)
    if not candidates:
        raise Unreadable("no_object", text[-80:])
    chosen, changed = next(
        (one for one in reversed(candidates) if wanted <= one[0].keys()),
        candidates[-1],
    )
    reply.mended += changed
    return chosen


def _strict(text: str, at: int) -> tuple[Fields, int] | None:
    """The object of strict JSON that begins at a place, and where it ends; None where there is
    none.
    """
    try:
        return decoder().raw_decode(text, at)
    except NotStrict as error:
        raise Unreadable(error.reason, str(error)) from error
    except (ValueError, RecursionError):
        return None


def _refuse_open(
    candidates: list[tuple[Fields, list[str]]],
    wanted: set[str],
    reply: Reply,
    opened: str,
) -> None:
    """A whole object may stand before one that never ends; parts of that one are never read."""
    if not reply.whole or not any(
        wanted <= one.keys() for one, _ in candidates
    ):
        raise Unreadable("open_object", opened[:80])
