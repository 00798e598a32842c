"""Fields of one JSON object, in a code fence or in prose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import KINDS, Parser
from synth.records import Row
from synth.strict_json import MOST_CHARS, NotStrict, decoder

_TRIES = 64


@dataclass(frozen=True, kw_only=True)
class JsonObject(Parser):
    """Reads the last JSON object of a reply that has all the keys asked for.

    Args:
        keys: field name -> kind (text, number, bool, list of texts, numbers, any), or for a list of objects their keys and kinds.
            Other keys are passed over.

    Reasons:
        no_object: no JSON object in the reply.
        doubled_key: a key stands twice (a judge could give two scores).
        missing_key: a key is absent.
        wrong_kind: a value is of another kind: a list holds more than texts, a number is not finite or beyond 2**53, a text
            is half a surrogate pair.

    Example:
        >>> JsonObject(keys={"score": "number"}).parse('So: {"score": 4, "why": "fine"} as asked', {})
        {'score': 4}
        >>> JsonObject(keys={"names": {"name": "text"}}).parse('{"names": [{"name": "Ann", "age": 9}]}', {})
        {'names': [{'name': 'Ann'}]}
    """

    keys: Mapping[str, Any]

    reasons: ClassVar[dict[str, str]] = {
        "no_object": "no JSON object", "doubled_key": "a key twice", "missing_key": "a key is absent", "wrong_kind": "another kind",
    }  # fmt: skip

    def __post_init__(self) -> None:
        for key, kind in self.keys.items():
            if isinstance(kind, Mapping):
                JsonObject(keys=kind)
            elif kind not in KINDS:
                raise ValueError(f"kind {kind!r} of {key}; use one of {', '.join(KINDS)}")

    def produces(self) -> dict[str, Any]:
        """One field a key."""
        return dict(self.keys)

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """Fields of one reply."""
        found = last_object(text[-MOST_CHARS:], set(self.keys))
        missing = [key for key in self.keys if key not in found]
        if missing:
            raise Unreadable("missing_key", ", ".join(missing))
        read = {key: found[key] for key in self.keys}
        read.update({key: _only(names, read[key]) for key, names in self._objects.items()})
        return read

    @cached_property
    def _objects(self) -> dict[str, list[str]]:
        """The keys of a list of objects, by the field that holds the list."""
        return {key: list(kind) for key, kind in self.keys.items() if isinstance(kind, Mapping)}


def _only(names: list[str], value: Any) -> Any:
    """A list of objects without the keys that nobody asked for."""
    if not isinstance(value, list):
        return value
    return [{name: element[name] for name in names if name in element} if isinstance(element, dict) else element for element in value]


def last_object(text: str, wanted: set[str]) -> dict[str, Any]:
    """The last outermost object with the wanted keys, else the last object at all.

    Raises:
        Unreadable: no object, or a doubled key in the one found.
    """
    read = decoder()
    found: list[dict[str, Any]] = []
    at, tries = text.find("{"), 0
    while at >= 0 and tries < _TRIES:
        tries += 1
        try:
            value, end = read.raw_decode(text, at)
        except NotStrict as error:
            raise Unreadable(error.reason, str(error)) from error
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    if not found:
        raise Unreadable("no_object", text[-80:])
    return next((o for o in reversed(found) if wanted <= o.keys()), found[-1])
