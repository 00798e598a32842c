"""Runs a function of the user's in a process of its own, which its caller ends.

`python -m synth.processes.function_inside MODULE:FUNCTION MOST` answers one line with one line, as
`synth.processes.worker` asks: {"arguments"} with {"text"} or {"error"}, of MOST characters at most.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from synth.core.plugins import imported
from synth.core.records import Values, finite
from synth.processes import worker

_MOST_ERROR = 500


@dataclass(frozen=True)
class Called:
    """Answers each message with what the function returns.

    Args:
        function: plain or async; its arguments come by name.
        most: characters of an answer; one more is sent, so that who reads it sees a cut.
    """

    function: Callable[..., Any]
    most: int

    def answer(self, message: Values) -> dict[str, Any]:
        """{"text"}: what it returns, {"error"}: how it failed, and its whole `length`."""
        try:
            value = self.function(**message["arguments"])
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            text = _text(value)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a tool is an error of it, too
            return {"error": _whole(_why(error))}
        return {"text": _whole(text[: self.most]), "length": len(text)}


def _text(value: Any) -> str:
    """A result as text; what is no text is JSON."""
    if isinstance(value, str):
        return str(value)
    return json.dumps(finite(value), ensure_ascii=False, default=str)


def _why(error: BaseException) -> str:
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an exception of somebody's whose text fails
        said = ""
    return f"{type(error).__name__}: {said}"[:_MOST_ERROR]


def _whole(text: str) -> str:
    """A text without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


if __name__ == "__main__":
    found = imported(sys.argv[1], sys.argv[1])
    worker.serve(Called(found, int(sys.argv[2])).answer)
