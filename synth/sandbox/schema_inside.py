"""Checks JSON against schemas whose work has no bound, in a process that its caller ends: patterns,
references, comparisons.

`python -m synth.sandbox.schema_inside SECONDS` answers one line with one line, as
`synth.processes.worker` asks.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from synth.core import strict_json
from synth.core.errors import RowFault, WrongUse
from synth.core.optional import optional
from synth.processes import worker

MOST_MEMORY = 1024 * 1024 * 1024
# What jsonschema and referencing raise over `$schema: 5`, `$id: "http://[x"` and their like.
_BROKEN = (AttributeError, LookupError, TypeError, ValueError)


def misfit(schema: str, value: Any) -> str:
    """Where a value does not fit and why, "" where it fits.

    Raises:
        RowFault: the schema is none, or refers to what it does not hold.

    >>> misfit('{"multipleOf": 0.1}', 10**400)
    '$: a number that cannot be checked: int too large to convert to float'
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - for those who need it

    checker = _checker(schema)
    try:
        problem = next(checker.iter_errors(value), None)
    except RecursionError:
        return "nested too deep"
    except (ArithmeticError, ValueError) as error:
        return f"$: a number that cannot be checked: {error}"
    except Unresolvable as error:
        todo = "Write what it refers to into the schema."
        raise RowFault(
            "json_schema",
            f"an unresolvable reference: {error}"[:200],
            "references inside the schema",
            todo,
        ) from error
    except _BROKEN as error:
        raise _no_schema(error) from error
    return f"{problem.json_path}: {problem.message}"[:200] if problem else ""


@lru_cache(maxsize=64)
def _checker(schema: str) -> Any:
    """A validator; `$ref` reaches inside the schema only, never a file or the network."""
    jsonschema = optional("jsonschema", "schema", "json_schema")
    referencing = optional("referencing", "schema", "json_schema")
    try:
        document = strict_json.loads(schema)
        if not isinstance(document, bool | dict):
            raise strict_json.NotStrict("no_json", f"{document!r}")
        kind = jsonschema.validators.validator_for(
            document, default=jsonschema.Draft202012Validator
        )
        kind.check_schema(document)
        return kind(document, registry=referencing.Registry())
    except (jsonschema.SchemaError, RecursionError, *_BROKEN) as error:
        raise _no_schema(error) from error


def _no_schema(error: Exception) -> RowFault:
    return RowFault(
        "json_schema",
        str(getattr(error, "message", error))[:200],
        "a JSON Schema",
        "Correct the schema.",
    )


class Checker:
    """Answers within `seconds`, or is ended by the alarm."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def answer(self, message: dict[str, str]) -> dict[str, Any]:
        """{"misfit"}: where and what, "" where it fits; or {"error"}: the four parts of a
        WrongUse.
        """
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            return {
                "misfit": misfit(
                    message["schema"], json.loads(message["value"])
                )
            }
        except WrongUse as error:
            return {"error": [str(part) for part in error.args]}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    worker.serve(Checker(float(sys.argv[1])).answer)
