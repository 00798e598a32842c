"""Runs a function of the user's in a process of its own, which its caller ends.

`python -m synth.processes.function_inside MODULE:FUNCTION MOST` answers one line with one line, as
`synth.processes.worker` asks: {"arguments"} with {"text"} or {"error"}, of MOST characters at most.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pydantic_core

from synth.core.plugins import imported
from synth.core.records import Values, finite
from synth.processes import worker

_MOST_ERROR = 500


@dataclass(frozen=True)
class Called:
    """Answers each message with what the function returns.

    Args:
        function: plain or async, or a generator; its arguments come by name.
        most: characters of an answer; one more is sent, so that who reads it sees a cut.
    """

    function: Callable[..., Any]
    most: int

    def answer(self, message: Values) -> dict[str, Any]:
        """{"text"}: what it returns, {"error"}: how it failed, and its whole `length`."""
        try:
            value = self.function(**message["arguments"])
            if inspect.isawaitable(value):
                value = asyncio.run(_awaited(value))
            elif inspect.isasyncgen(value):
                value = asyncio.run(_first(value, self.most))
            elif isinstance(value, Iterator):
                # What is longer would be cut.
                value = list(islice(value, self.most))
            text = _text(value)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a tool is an error of it, too
            return {"error": _whole(_why(error))}
        return {"text": _whole(text[: self.most]), "length": len(text)}


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


async def _first(values: AsyncIterator[Any], most: int) -> list[Any]:
    """The first values of an asynchronous generator."""
    found: list[Any] = []
    async for value in values:
        found.append(value)
        if len(found) >= most:
            break
    return found


def _text(value: Any) -> str:
    """A result as text; what is no text is JSON, dataclasses and pydantic's models too.

    Raises:
        TypeError: it holds what only its own program can read, such as a function.
    """
    if isinstance(value, str):
        return str(value)
    meant = pydantic_core.to_jsonable_python(value, fallback=_meant)
    return json.dumps(finite(meant), ensure_ascii=False)


def _meant(value: Any) -> Any:
    """What a value of no kind that pydantic knows stands for: numpy's and pandas' as lists and
    mappings, others as the text that their class writes.
    """
    for way in ("tolist", "to_dict"):
        turn = getattr(value, way, None)
        if callable(turn):
            return turn()
    kind = type(value)
    if all("__str__" not in vars(base) for base in kind.__mro__[:-1]):
        raise TypeError(f"a {kind.__name__}, which is neither text nor JSON")
    return str(value)


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
