"""Keeps rows whose field is JSON that fits a schema."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from synth.core.errors import RowFault, WrongUse, did_you_mean
from synth.core.optional import require
from synth.core.records import Row, Verdict
from synth.core.rows import text_of
from synth.filters.base import RowFilter
from synth.verifiers import json_schema as verifier


@dataclass(frozen=True, kw_only=True)
class JsonSchema(RowFilter):
    """Reads strictly (no key twice, no NaN, at most 256 KiB) and checks against JSON Schema; fenced
    replies are unwrapped.

    Sees: one row. Costs: nothing; some 20,000 small rows a CPU-second.

    Args:
        schema: the schema, a file with it, or the name of the column that holds each row's own.
        field: the field with the text or the value; the raw reply where a row lacks it.

    Reasons:
        no_json: the text is no JSON.
        doubled_key: a key stands twice.
        misfit: it does not fit.

    Marks: `error`: where and what.

    Example:
        >>> part = JsonSchema(schema={"type": "object", "required": ["head"]}, field="reply")
        >>> [part.judge({"reply": text}).reason for text in ('{"head": 1}', '{"tail": 1}', "head")]
        ['', 'misfit', 'no_json']
    """

    schema: str | Row
    field: str = "json"

    reasons: ClassVar[dict[str, str]] = {
        "no_json": "no JSON",
        "doubled_key": "a key twice",
        "misfit": "does not fit the schema",
    }

    @cached_property
    def fixed(self) -> str | None:
        """The schema as text, None where each row brings its own."""
        if isinstance(self.schema, Mapping):
            return json.dumps(dict(self.schema), sort_keys=True)
        if not str(self.schema).endswith(".json"):
            return None
        try:
            return Path(self.schema).read_text(encoding="utf-8")
        except OSError as error:
            raise WrongUse(
                f"json_schema:schema={self.schema}",
                "no readable file",
                "a JSON Schema",
                "Correct the path.",
            ) from error

    def needs(self) -> tuple[str, ...]:
        """The column of schemas, where there is one."""
        require("jsonschema", "schema", "json_schema")
        if self.fixed is None:
            return (str(self.schema),)
        verifier.JsonSchema().why(
            "{}", self.fixed
        )  # a schema that is none is said before the first call
        return ()

    def unknown_field(self, names: Collection[str]) -> tuple[str, str] | None:
        """The same, and the column of schemas."""
        if self.fixed is None and self.schema not in names:
            name = str(self.schema)
            return name, did_you_mean(name, map(str, names))
        return super().unknown_field(names)

    def verdict(self, row: Row) -> Verdict:
        value = row.get(self.field)
        text = _unfenced(value if value is not None else text_of(row))
        schema = self.fixed
        if schema is None:
            schema = row.get(str(self.schema))
        if schema is None:
            raise RowFault(
                f"json_schema:schema={self.schema}",
                "a row without it",
                "a schema in each row",
                "Write it into the row, or name a file that ends in .json.",
            )
        reason, error = verifier.JsonSchema().why(text, schema)
        return Verdict(not reason, reason, {"error": error} if reason else {})


def _unfenced(value: Any) -> Any:
    """A text without the code fence around it."""
    if not isinstance(value, str) or "```" not in value:
        return value
    inside = value.split("```")[1]
    return inside.removeprefix("json").strip()
