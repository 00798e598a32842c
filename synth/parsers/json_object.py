"""Fields of one JSON object, in a code fence or in prose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.records import Row
from synth.strict_json import MOST_CHARS, NotStrict, decoder

_TRIES = 64
_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "bool": (bool,),
    "list": (list,),
    "any": (object,),
}


@dataclass(frozen=True, kw_only=True)
class JsonObject(Parser):
    """Reads the last JSON object of a reply that has all the keys asked for.

    Args:
        keys: field name -> kind (text, number, bool, list, any), or for a list of objects their keys and kinds. Other keys are passed over.

    Reasons:
        no_object: no JSON object in the reply.
        doubled_key: a key stands twice (a judge could give two scores).
        missing_key: a key is absent.
        wrong_kind: a value is of another kind, or a number is not finite.

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
            elif kind not in _KINDS:
                raise ValueError(f"kind {kind!r} of {key}; use one of {', '.join(_KINDS)}")

    def produces(self) -> dict[str, Any]:
        """One field a key."""
        return dict(self.keys)

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """Fields of one reply."""
        found = last_object(text[-MOST_CHARS:], set(self.keys))
        missing = [key for key in self.keys if key not in found]
        if missing:
            raise Unreadable("missing_key", ", ".join(missing))
        return {key: self._fit(key, found[key]) for key in self.keys}

    def _fit(self, key: str, value: Any) -> Any:
        kind = self.keys[key]
        if isinstance(kind, Mapping):
            return self._objects(key, value, JsonObject(keys=kind))
        fits = isinstance(value, _KINDS[kind]) and (kind in {"bool", "any"} or not isinstance(value, bool))
        if not fits or value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN differs from itself
            raise Unreadable("wrong_kind", f"{key} = {value!r}"[:80])
        return value

    @staticmethod
    def _objects(key: str, value: Any, shape: JsonObject) -> list[dict[str, Any]]:
        """A list of objects of one shape."""
        if not isinstance(value, list) or not all(isinstance(element, dict) and shape.keys.keys() <= element.keys() for element in value):
            raise Unreadable("wrong_kind", f"{key} = {value!r}"[:80])
        return [{name: shape._fit(name, element[name]) for name in shape.keys} for element in value]


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
