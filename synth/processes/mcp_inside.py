"""Asks an MCP server of the user's over standard input and output, in a process of its own.

`python -m synth.processes.mcp_inside MOST WORDS` starts the server that WORDS name and answers one
line with one line, as `synth.processes.worker` asks: {"list": true} with {"tools"}, and {"tool",
"arguments"} with {"text", "length"} or {"error"}, of MOST characters at most. The server dies with
this process, and sees no variable but those that programs need.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from synth.core.records import Fields, Values
from synth.processes import leash, worker

# The newest revision that begins with a handshake; a server answers with the one that it speaks.
VERSION = "2025-11-25"
# Variables that a server gets: keys of teachers are none of its business.
VARIABLES = (
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "PYTHONPATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "USER",
)
# Bytes of one message of a server, and tools that it may list.
MOST_LINE = 16 * 1024 * 1024
MOST_TOOLS = 1000
_MOST_ERROR = 500
_NO_METHOD = -32601


class ServerFault(Exception):
    """The server says what is no answer."""


class Gone(ServerFault):
    """The server is gone, or what it says has no end."""


class Server:
    """A server that is started again where it has gone.

    Args:
        words: its command.
        most: characters of an answer; one more is counted, so that who reads it sees a cut.
    """

    def __init__(self, words: Sequence[str], most: int) -> None:
        self._words = words
        self._most = most
        self._session: Session | None = Session(words, most)

    def answer(self, message: Values) -> Fields:
        """The answer to one message of ours."""
        try:
            if self._session is None:
                self._session = Session(self._words, self._most)
            return self._session.answer(message)
        except ServerFault as fault:
            if isinstance(fault, Gone) and self._session is not None:
                self._session.close()
                self._session = None
            return {"error": f"{fault}"[:_MOST_ERROR]}


class Session:
    """One run of a server, one request at a time."""

    def __init__(self, words: Sequence[str], most: int) -> None:
        self._most = most
        self._number = 0
        pipe = subprocess.PIPE
        self._process = leash.start(
            "-m",
            "synth.processes.become",
            *words,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            env=_variables(),
        )
        self._ask(
            "initialize",
            {
                "protocolVersion": VERSION,
                "capabilities": {},
                "clientInfo": {"name": "potstill", "version": "1"},
            },
        )
        self._send({"method": "notifications/initialized"})

    def answer(self, message: Values) -> Fields:
        """The answer to one message of ours.

        Raises:
            ServerFault: there is none.
        """
        if "list" in message:
            return {"tools": list(self._tools())}
        return self._called(message["tool"], message["arguments"])

    def close(self) -> None:
        """Ends the server."""
        self._process.kill()
        self._process.wait()

    def _tools(self) -> Iterator[str]:
        """Names of the server's tools."""
        params: Fields = {}
        listed = 0
        while listed < MOST_TOOLS:
            page = self._ask("tools/list", params)
            for tool in page.get("tools") or []:
                listed += 1
                yield str(tool.get("name"))
            cursor = page.get("nextCursor")
            if not cursor:
                return
            params = {"cursor": cursor}

    def _called(self, name: str, arguments: Values) -> Fields:
        params = {"name": name, "arguments": arguments}
        result = self._ask("tools/call", params)
        text = "\n".join(map(_text, result.get("content") or []))
        if not text and "structuredContent" in result:
            structured = result["structuredContent"]
            text = json.dumps(structured, ensure_ascii=False)
        if result.get("isError"):
            return {"error": text[:_MOST_ERROR] or "the tool failed"}
        return {"text": text[: self._most], "length": len(text)}

    def _ask(self, method: str, params: Fields) -> Fields:
        """The result of a request.

        Raises:
            ServerFault: there is none.
        """
        self._number += 1
        number = self._number
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._heard()
            if "method" in message:
                self._served(message)
            elif message.get("id") == number:
                break
        if "error" in message:
            error = message["error"]
            raise ServerFault(f"{error.get('message')}")
        result = message.get("result")
        if not isinstance(result, dict):
            raise ServerFault(f"{method} brought no result")
        return result

    def _served(self, message: Values) -> None:
        """Answers what the server asks: we live, and do nothing for it."""
        if "id" not in message:
            return
        reply: Fields = {"id": message["id"]}
        if message["method"] == "ping":
            reply["result"] = {}
        else:
            words = "not offered here"
            reply["error"] = {"code": _NO_METHOD, "message": words}
        self._send(reply)

    def _send(self, message: Fields) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message})
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - asked for as a pipe
        try:
            pipe.write(line.encode() + b"\n")
            pipe.flush()
        except OSError as error:
            raise Gone("the server is gone") from error

    def _heard(self) -> Fields:
        """The next message; lines that are none are passed over."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - asked for as a pipe
        while True:
            line = pipe.readline(MOST_LINE)
            if not line.endswith(b"\n"):
                raise Gone("the server is gone, or its message too long")
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                return message


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _text(part: Any) -> str:
    """A part of an answer; what is no text is named."""
    if not isinstance(part, dict):
        return ""
    if part.get("type") == "text":
        return str(part.get("text"))
    resource = part.get("resource")
    if isinstance(resource, dict) and "text" in resource:
        return str(resource["text"])
    return f"[{part.get('type')}]"


if __name__ == "__main__":
    server = Server(sys.argv[2:], int(sys.argv[1]))
    worker.serve(server.answer)
