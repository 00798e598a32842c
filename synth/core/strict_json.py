"""JSON as a verdict or a dataset needs it: no key twice, no NaN, no infinity, no half of a
surrogate pair, not endless.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from synth.core.records import Fields

# Longer texts are not read as JSON: scans for an object in prose are quadratic in hostile braces.
MOST_CHARS = 256 * 1024


class NotStrict(ValueError):
    """`reason` says what is wrong in one word, the text what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _no_twins(pairs: list[tuple[str, Any]]) -> Fields:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        counts = Counter(keys)
        twins = sorted(key for key, count in counts.items() if count > 1)
        raise NotStrict("doubled_key", ", ".join(twins))
    return dict(pairs)


def decoder() -> json.JSONDecoder:
    """Reads as Python does, but for keys that stand twice."""
    return json.JSONDecoder(object_pairs_hook=_no_twins)


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        NotStrict: `doubled_key`, or `no_json` for anything else that is no JSON or no value that
            other programs could read.

    >>> loads('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    if len(text) > MOST_CHARS:
        raise NotStrict("no_json", f"{len(text):,} characters")
    try:
        value = json.JSONDecoder(
            object_pairs_hook=_no_twins,
            parse_constant=_refuse,
            parse_float=_finite,
        ).decode(text)
        json.dumps(value, ensure_ascii=False).encode()
    except NotStrict:
        raise
    except (ValueError, RecursionError) as error:
        raise NotStrict("no_json", f"{error}"[:100]) from error
    return value


def _refuse(word: str) -> Any:
    raise NotStrict("no_json", word)


def _finite(word: str) -> float:
    value = float(word)
    return value if abs(value) != float("inf") else _refuse(word)
