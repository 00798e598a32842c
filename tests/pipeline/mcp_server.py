"""An MCP server over standard input and output, by the shapes of the `mcp` package; it logs its calls.

`python mcp_server.py LOG [WAY]`: a way is one in which it misbehaves.
"""

import json
import os
import sys
import time
from pathlib import Path

LOG = sys.argv[1]
WAY = sys.argv[2] if len(sys.argv) > 2 else ""
STATE = {"calls": 0}
TOOLS = [
    {"name": name, "description": name, "inputSchema": {"type": "object"}}
    for name in ("find", "lend", "steal")
]


def say(value):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **value}) + "\n")
    sys.stdout.flush()


def text(words, **more):
    return {"content": [{"type": "text", "text": words}], **more}


def called(number, params):  # noqa: C901, PLR0912 - one branch a way
    STATE["calls"] += 1
    title = params["arguments"].get("title")
    with Path(LOG).open("a") as file:
        keys = [name for name in os.environ if "KEY" in name]
        line = {
            "tool": params["name"],
            "title": title,
            "pid": os.getpid(),
            "keys": keys,
        }
        file.write(json.dumps(line) + "\n")
    way = WAY or title
    if way == "hangs":
        time.sleep(1000)
    if way == "dies":
        os._exit(3)
    if way == "ill":
        sys.stdout.write("no JSON\n[1, 2]\n\n")
        say({"id": 999, "result": text("another's")})
        say({"method": "notifications/message", "params": {"data": "x"}})
    if way == "asks":
        say({"id": "s1", "method": "sampling/createMessage", "params": {}})
        assert json.loads(sys.stdin.readline())["error"]["code"] == -32601
        say({"id": "s2", "method": "ping"})
        assert json.loads(sys.stdin.readline())["result"] == {}
    if way == "huge":
        return say({"id": number, "result": text("a" * 2_000_000)})
    if way == "endless":
        while True:
            sys.stdout.write("a" * 65536)
    if way == "fails":
        return say({"id": number, "result": text("it is burnt", isError=True)})
    if way == "refuses":
        return say({"id": number, "error": {"code": -32602, "message": "no"}})
    if way == "empty":
        return say({"id": number, "result": {}})
    if way == "odd":
        return say({"id": number, "result": 7})
    if way == "parts":
        content = [
            {"type": "image", "data": "aGk=", "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "x:", "text": "told"}},
            7,
        ]
        return say({"id": number, "result": {"content": content}})
    if way == "values":
        found = {"content": [], "structuredContent": {"place": 3}}
        return say({"id": number, "result": found})
    return say(
        {"id": number, "result": text(f"call {STATE['calls']}: {title}")}
    )


def main():
    if WAY == "deaf":
        time.sleep(1000)
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message["method"], message.get("params") or {}
        if method == "initialize":
            assert params["clientInfo"]["name"]
            made = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
            }
            say(
                {
                    "id": message["id"],
                    "result": {
                        **made,
                        "serverInfo": {"name": "s", "version": "1"},
                    },
                }
            )
        elif method == "tools/list":
            place = int(params.get("cursor") or 0)
            more = (
                {"nextCursor": str(place + 1)} if place + 1 < len(TOOLS) else {}
            )
            say(
                {
                    "id": message["id"],
                    "result": {"tools": TOOLS[place : place + 1], **more},
                }
            )
        elif method == "tools/call":
            called(message["id"], params)


main()
