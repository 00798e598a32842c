"""Whether a text is JSON that fits a schema."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from synth.core import strict_json
from synth.core.errors import RowFault
from synth.core.records import Values
from synth.processes.worker import Pool
from synth.sandbox.schema_inside import misfit
from synth.verifiers.base import Verifier

# Seconds for one check of a schema whose work has no bound.
SECONDS = 2.0
_MOST_STRIKES = 3
# Characters of a schema times characters of a value: a keyword takes some ten of the first and a
# microsecond.
_MOST_WORK = 20_000_000
# An escape may spell any of the keywords.
_UNBOUNDED = re.compile(
    r'"(?:pattern|patternProperties|uniqueItems|\$\w*[rR]ef|contains|unevaluated\w*'
    r'|dependentSchemas)"|\\u'
)


@dataclass(frozen=True, kw_only=True)
class JsonSchema(Verifier):
    """Checks against JSON Schema (draft 2020-12 unless the schema names another), read strictly: no
    key twice, no NaN.

    Example:
        >>> schema = {
        ...     "type": "object",
        ...     "required": ["head"],
        ...     "properties": {"head": {"type": "string"}},
        ... }
        >>> JsonSchema().verify('{"head": "rain"}', schema)
        True
        >>> JsonSchema().verify('{"head": 3}', schema)
        False
        >>> JsonSchema().why("{", schema)[0]
        'no_json'
    """

    def verify(self, text: str, schema: str | Values) -> bool:
        """Whether the text is JSON that fits.

        Raises:
            WrongUse: the schema itself is none.
        """
        return not self.why(text, schema)[0]

    def why(self, text: Any, schema: str | Values) -> tuple[str, str]:
        """("", "") where the text (or a value already read) fits, else (`no_json`, `doubled_key` or
        `misfit`, where and what).
        """
        try:
            value = strict_json.loads(text) if isinstance(text, str) else text
        except strict_json.NotStrict as error:
            return error.reason, str(error)
        text = (
            schema
            if isinstance(schema, str)
            else json.dumps(dict(schema), sort_keys=True)
        )
        problem = (
            misfit(text, value)
            if _is_bounded(text, value)
            else _elsewhere(text, value)
        )
        return ("misfit", problem) if problem else ("", "")


@cache
def _process() -> Pool:
    return Pool(
        1,
        "-m",
        "synth.sandbox.schema_inside",
        str(SECONDS),
        seconds=SECONDS + 1,
    )


# How often a schema took too long; from `_MOST_STRIKES` on, no row waits for it.
_strikes: Counter[str] = Counter()


def _elsewhere(schema: str, value: Any) -> str:
    """The same in a process that is ended where it takes too long."""
    reply = None
    if _strikes[schema] < _MOST_STRIKES:
        reply = _process().ask(
            {"schema": schema, "value": json.dumps(value, default=str)}
        )
    if reply is None:
        _strikes[schema] += 1
        return f"checking it takes more than {SECONDS:g} s"
    if "error" in reply:
        raise RowFault(*reply["error"])
    return str(reply["misfit"])


def _is_bounded(schema: str, value: Any) -> bool:
    """Whether checking takes a second at most: no pattern, reference or comparison of all with all,
    and not too much of both.
    """
    return (
        not _UNBOUNDED.search(schema)
        and len(schema) * len(repr(value)) <= _MOST_WORK
    )
