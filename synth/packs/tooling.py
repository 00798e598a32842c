"""Tools of a step, ready to be called: what a call must be, and what answers it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from synth.core import strict_json
from synth.core.errors import WrongUse, did_you_mean, printable
from synth.core.plugins import imported, is_import, require_allowed
from synth.core.records import Call, Fields, Row, canonical_json
from synth.packs.mcp import PREFIX
from synth.replies import schemas

# Characters of what a tool answers; what is longer is cut.
MOST_ANSWER = 16_384
# Characters of the arguments of one call.
MOST_ARGUMENTS = 65_536
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")
# What a tool takes that declares no arguments.
_NOTHING: Fields = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


class Tool(NamedTuple):
    """One function that a teacher may call.

    Attributes:
        name: as the teacher calls it.
        description: what it does.
        parameters: JSON Schema of its arguments, within bounds.
        seconds: of one call at most.
    """

    name: str
    description: str
    parameters: Row
    seconds: float

    def declared(self) -> Fields:
        """As a request names it."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        }


class Misuse(ValueError):
    """A call that no tool can answer: `reason` in one word, and a text that the teacher sees."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"error: {text}")
        self.reason = reason


def arguments_of(text: str) -> Fields:
    """The arguments of a call."""
    if len(text) > MOST_ARGUMENTS:
        raise Misuse(
            "bad_arguments",
            f"arguments of {len(text):,} characters; at most {MOST_ARGUMENTS:,}",
        )
    try:
        value = strict_json.loads(text.strip() or "{}")
    except strict_json.NotStrict as error:
        raise Misuse(
            "bad_arguments",
            f"the arguments are no JSON: {printable(str(error))}",
        ) from error
    if not isinstance(value, dict):
        raise Misuse("bad_arguments", "the arguments are no JSON object")
    return value


def spelled(call: Call) -> Call:
    """A call as a provider takes it back: a name of letters, and arguments that are JSON."""
    name = _STRANGE.sub("_", call.name[:64]) or "_"
    try:
        return Call(name, shown(arguments_of(call.arguments)))
    except Misuse:
        return Call(name, "{}")


def parameters_of(schema: Row) -> Fields:
    """The schema of a tool's arguments, within the bounds of `synth.replies.schemas`.

    Raises:
        ValueError: it is none, or crosses a bound.
    """
    if not schema or schema == {"type": "object"}:
        return _NOTHING
    if schema.get("properties") == {}:
        return _NOTHING
    return schemas.held(schema)


def cut(answer: str) -> str:
    """An answer that is not too long for a request.

    >>> len(cut("a" * 20_000)) < 16_500
    True
    """
    if len(answer) <= MOST_ANSWER:
        return answer
    return f"{answer[:MOST_ANSWER]} [cut: {len(answer):,} characters in all]"


def check_bindings(named: Mapping[str, str], allowed: Collection[str]) -> None:
    """Raises WrongUse where a binding is neither a role nor a function of a module that the user
    allows.
    """
    for name, target in named.items():
        where = f"--tool {name}={target}"
        if target.startswith(PREFIX):
            continue
        if not is_import(target):
            if ":" in target or "/" in target:
                raise WrongUse(
                    where,
                    repr(target),
                    "module:function, or a role that plays the tool",
                    "For example --tool find=my_tools:find, with --plugin my_tools.",
                )
            continue
        require_allowed(target, allowed, where)
        if not callable(imported(target, where)):
            raise WrongUse(
                where,
                f"{target}, which cannot be called",
                "a function",
                "Name a function of the module.",
            )


def check_takes(tools: Mapping[str, Tool], named: Mapping[str, str]) -> None:
    """Raises WrongUse where a function cannot be called with the arguments that its tool declares:
    with those that are required, and with all of them.
    """
    for name, target in named.items():
        if name not in tools or is_role(target) or target.startswith(PREFIX):
            continue
        where = f"--tool {name}={target}"
        try:
            signature = inspect.signature(imported(target, where))
        except (TypeError, ValueError):
            # A function of C's says nothing of its arguments.
            continue
        parameters = tools[name].parameters
        for taken in (parameters.get("required", ()), parameters["properties"]):
            given = dict.fromkeys(taken)
            try:
                signature.bind(**given)
            except TypeError as error:
                raise WrongUse(
                    where,
                    f"a function {target.rpartition(':')[2]}{signature}: {error}",
                    f"one that takes {', '.join(given) or 'nothing'} by name",
                    "Change the function, or the tool's `parameters` in pack.yaml.",
                ) from error


def is_role(target: str) -> bool:
    """Whether a target is the role of a teacher that plays a tool.

    >>> is_role("player"), is_role("my_tools:find"), is_role("mcp://python server.py")
    (True, False, False)
    """
    return not (target.startswith(PREFIX) or is_import(target))


def check_all_bound(unbound: Sequence[str], where: str) -> None:
    """Raises WrongUse where nothing answers a tool."""
    if not unbound:
        return
    name = unbound[0]
    raise WrongUse(
        where,
        f"tool {name!r}, which nothing answers",
        "something that answers each tool: a pack binds none by itself",
        f"Add --tool {name}=MODULE:FUNCTION with --plugin MODULE, --tool {name}=ROLE for a "
        "teacher that plays it, or --mcp COMMAND for a server that has it.",
    )


def check_known(named: Mapping[str, str], known: Collection[str]) -> None:
    """Raises WrongUse where a tool is bound that no step has."""
    for name in named:
        if name not in known:
            raise WrongUse(
                f"--tool {name}={named[name]}",
                f"tool {name!r}",
                "a tool of the pack",
                did_you_mean(name, known),
            )


def shown(arguments: Row) -> str:
    """Arguments as text, always spelled alike."""
    return canonical_json(dict(arguments)).decode()
