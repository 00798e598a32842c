"""Whether a text is JSON that fits a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from synth import strict_json
from synth.errors import RowFault


@dataclass(frozen=True, kw_only=True)
class JsonSchema:
    """Checks against JSON Schema (draft 2020-12 unless the schema names another), read strictly: no key twice, no NaN.

    Example:
        >>> schema = {"type": "object", "required": ["head"], "properties": {"head": {"type": "string"}}}
        >>> JsonSchema().verify('{"head": "rain"}', schema), JsonSchema().verify('{"head": 3}', schema), JsonSchema().why("{", schema)[0]
        (True, False, 'no_json')
    """

    def verify(self, text: str, schema: str | Mapping[str, Any]) -> bool:
        """Whether the text is JSON that fits.

        Raises:
            WrongUse: the schema itself is none.
        """
        return not self.why(text, schema)[0]

    def why(self, text: Any, schema: str | Mapping[str, Any]) -> tuple[str, str]:
        """("", "") where the text (or a value already read) fits, else (`no_json`, `doubled_key` or `misfit`, where and what)."""
        try:
            value = strict_json.loads(text) if isinstance(text, str) else text
        except strict_json.NotStrict as error:
            return error.reason, str(error)
        checker = _checker(schema if isinstance(schema, str) else json.dumps(dict(schema), sort_keys=True))
        try:
            misfit = next(checker.iter_errors(value), None)
        except RecursionError:
            return "misfit", "nested too deep"
        return ("misfit", f"{misfit.json_path}: {misfit.message}"[:200]) if misfit else ("", "")


@lru_cache(maxsize=64)
def _checker(schema: str) -> Any:
    """A validator; `$ref` reaches inside the schema only, never a file or the network."""
    import jsonschema  # noqa: PLC0415 - for those who need it
    import referencing  # noqa: PLC0415

    try:
        found = strict_json.loads(schema)
        kind = jsonschema.validators.validator_for(found, default=jsonschema.Draft202012Validator)
        kind.check_schema(found)
    except (strict_json.NotStrict, jsonschema.SchemaError) as error:
        why = getattr(error, "message", str(error))
        raise RowFault("json_schema", str(why)[:200], "a JSON Schema", "Correct the schema.") from error
    return kind(found, registry=referencing.Registry())
