"""Errors of the commands, as they are said to who calls from Python: arguments, not flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import ParamSpec, TypeVar

from synth.core.errors import WrongUse
from synth.core.patterns import lazy_pattern
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
# A value follows where a word is no plain prose: URL, 7, openai/m, cot.draws=4, {"a": 1}.
_VALUE = r"[ =](?=[A-Z0-9\"'{./]|[\w-]*[/=.:]\w|[\w-]+=)"
_PAIR = r"([\w.-]+)=(\.\.\.|[{\[].*[}\]]|\S*[^\s.,;:?!)])"
_OPTION = lazy_pattern(
    rf"(?<![\w-])--([a-z][a-z-]*)(?:[ =]{_PAIR}|({_VALUE}))?",
)


def in_python(text: str) -> str:
    """A text with its options spelt as arguments.

    >>> in_python("Name it with --api-base URL, or add --keep-going.")
    'Name it with api_base=URL, or add keep_going=True.'
    >>> in_python("--set cot.draws=4 on --input rows.jsonl; leave --journal out.")
    'overrides={"cot.draws": 4} on seeds=rows.jsonl; leave journal out.'
    """
    switches = {
        field.name for field in fields(RunConfig) if field.type == "bool"
    }

    def spelt(found: re.Match[str]) -> str:
        option, key, value, glue = found.groups()
        option = option.rstrip("-")
        name = _NAMES.get(option, option.replace("-", "_"))
        if key is not None:
            return f'{name}={{"{key}": {_literal(value)}}}'
        if name in switches:
            return f"{name}=True{glue or ''}"
        return f"{name}=" if glue else name

    return _OPTION.sub(spelt, text)


def _literal(value: str) -> str:
    """A value as Python writes it; a placeholder or JSON as it stands."""
    as_it_is = value == "..." or value[:1] in '{["' or value.isupper()
    is_number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", value) is not None
    return value if as_it_is or is_number else f'"{value}"'


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
