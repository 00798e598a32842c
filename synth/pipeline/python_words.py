"""Errors of the commands, as they are said to who calls from Python: arguments, not flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import ParamSpec, TypeVar

from synth.core.errors import WrongUse
from synth.pipeline.prepare import RunConfig

P = ParamSpec("P")
T = TypeVar("T")

# Options that have another name in Python.
_NAMES = {
    "input": "seeds",
    "set": "overrides",
    "column": "columns",
    "plugin": "plugins",
    "tool": "tools",
}
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?:[ =](?=[\w{\"'./-]))?")


def in_python(text: str) -> str:
    """A text with its options spelt as arguments.

    >>> in_python("Name it with --api-base URL, or add --keep-going.")
    'Name it with api_base=URL, or add keep_going=True.'
    >>> in_python("--set cot.draws=4 on --input rows.jsonl")
    'overrides=cot.draws=4 on seeds=rows.jsonl'
    """
    switches = {
        field.name for field in fields(RunConfig) if field.type == "bool"
    }

    def spelt(found: re.Match[str]) -> str:
        option = found[1].rstrip("-")
        name = _NAMES.get(option, option.replace("-", "_"))
        tail = found[0][len(found[1]) + 2 :]
        if name in switches:
            return f"{name}=True{tail}"
        return f"{name}=" if tail else name

    return _OPTION.sub(spelt, text)


def speaks_python(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose mistakes of use are said in arguments."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except WrongUse as error:
            error.args = tuple(in_python(str(part)) for part in error.args)
            raise

    return called
