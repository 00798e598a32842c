"""Tools that MCP servers of the user's answer: which server has which."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from functools import cache

from synth.core.errors import WrongUse
from synth.processes.worker import Worker

MODULE = "synth.processes.mcp_inside"
# Begins the target of a tool that a server answers; its command follows.
PREFIX = "mcp://"
# Seconds in which a server must start, and list its tools.
_SECONDS = 60.0


def words_of(target: str) -> list[str]:
    """The command of a target.

    >>> words_of("mcp://python 'my server.py'")
    ['python', 'my server.py']
    """
    return shlex.split(target.removeprefix(PREFIX))


@cache
def listed(command: str) -> tuple[str, ...]:
    """Names of a server's tools, asked once.

    Raises:
        WrongUse: no command, or no server.
    """
    where = f"--mcp {command!r}"
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise WrongUse(
            where,
            "no command",
            "the command that starts an MCP server",
            "For example --mcp 'python my_server.py'.",
        )
    worker = Worker(
        "-m",
        MODULE,
        "0",
        *words,
        seconds=_SECONDS,
        start_seconds=_SECONDS,
    )
    try:
        answer = worker.ask({"list": True})
    except WrongUse as error:
        raise WrongUse(
            where,
            "no server that answers",
            "a command that speaks MCP over standard input and output",
            "Run it by hand to see why it ends.",
        ) from error
    finally:
        worker.close()
    tools = answer.get("tools") if isinstance(answer, dict) else None
    if tools is None:
        said = answer.get("error") if isinstance(answer, dict) else "nothing"
        raise WrongUse(
            where,
            f"{said}",
            "a list of its tools",
            "Run it by hand to see why it does not answer.",
        )
    return tuple(tools)


def bindings(
    commands: Sequence[str], wanted: Collection[str]
) -> dict[str, str]:
    """Tool -> the target of the server that has it.

    Args:
        commands: of servers.
        wanted: tools of the pack that nothing else answers.

    Raises:
        WrongUse: two servers have one tool, or a server none of those that are wanted.
    """
    bound: dict[str, str] = {}
    for command in commands:
        where = f"--mcp {command!r}"
        tools = listed(command)
        ours = [name for name in tools if name in wanted]
        if not ours:
            raise WrongUse(
                where,
                f"a server with {', '.join(tools[:20]) or 'no tools'}",
                f"one that has {', '.join(sorted(wanted)) or 'a tool'}",
                "The pack's tools and the server's meet by their names.",
            )
        for name in ours:
            if name in bound:
                raise WrongUse(
                    where,
                    f"tool {name!r}, which {bound[name]} has as well",
                    "one server for each tool",
                    "Leave one of the servers out.",
                )
            bound[name] = f"{PREFIX}{command}"
    return bound
