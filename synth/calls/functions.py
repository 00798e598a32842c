"""Functions of the user's that answer calls of tools: each in a process of its own, journaled."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synth.calls.journal import Journal
from synth.core.errors import WrongUse
from synth.core.records import Completion, Row, canonical_json
from synth.packs import mcp
from synth.packs.tooling import MOST_ANSWER, Tool
from synth.processes.worker import Pool
from synth.teachers.base import chat_reply
from synth.teachers.wire.replies import load_reply, read_chat

# Calls of one tool at once, each in a process of its own.
AT_ONCE = 4
# In which a process must be ready.
_START_SECONDS = 60.0
_MODULE = "synth.processes.function_inside"


class Functions:
    """Runs what tools are bound to.

    Args:
        journal: keeps every answer before anything reads it, so that no call is made twice.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pools: dict[tuple[str, float], Pool] = {}
        self._flying: dict[str, asyncio.Task[str]] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def call(
        self, target: str, tool: Tool, arguments: Row, where: str
    ) -> str:
        """What a call answers: of the journal, or of the function. Failures are answers, too.

        Args:
            target: `module:function`, or an MCP server's command.
            tool: the one that is called.
            arguments: as they were checked.
            where: which call it is: the key of the reply that makes it, and its place in there.
        """
        said = ["tool", target, tool.name, dict(arguments), where]
        key = hashlib.sha256(canonical_json(said)).hexdigest()
        raw = self._journal.get(key) or await self._journal.borrowed(key)
        if raw is not None:
            return read_chat(load_reply(raw)[0]).text
        task = self._flying.get(key)
        if task is None:
            running = self._run(key, target, tool, arguments)
            task = self._flying[key] = asyncio.create_task(running)
            task.add_done_callback(lambda _: self._flying.pop(key, None))
        return await asyncio.shield(task)

    async def _run(
        self, key: str, target: str, tool: Tool, arguments: Row
    ) -> str:
        """Runs it, and writes its answer down."""
        message = {"tool": tool.name, "arguments": dict(arguments)}
        answer = await self._ask(target, tool, message)
        text = _answer(answer, tool.seconds)
        # In the one dialect of the journal: whoever reads it finds a reply.
        reply = chat_reply(text, model=f"tool/{tool.name}")
        await self._journal.append(key, reply.raw, Completion(""))
        return text

    async def _ask(self, target: str, tool: Tool, message: Row) -> Any:
        """The answer of a process; None where it took too long, or died."""
        if self._threads is None:
            # Threads of its own: the others write the journal to the disk.
            self._threads = ThreadPoolExecutor(2 * AT_ONCE)
        pool = self._pools.get((target, tool.seconds))
        if pool is None:
            size, words = _process_of(target)
            pool = Pool(
                size,
                "-m",
                *words,
                seconds=tool.seconds,
                start_seconds=_START_SECONDS,
            )
            self._pools[target, tool.seconds] = pool
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, pool.ask, message)
        except WrongUse:
            # It answered before the run, and does not start any more.
            return None

    async def close(self) -> None:
        """Waits for what is under way, each for as long as its tool may take."""
        if self._threads is not None:
            await asyncio.gather(*self._flying.values(), return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.close()


def _process_of(target: str) -> tuple[int, list[str]]:
    """How many processes answer a target, and the module of each with its arguments.

    A server has a state: there is one of it, asked by one call at a time.
    """
    most = str(MOST_ANSWER)
    if target.startswith(mcp.PREFIX):
        return 1, [mcp.MODULE, most, *mcp.words_of(target)]
    return AT_ONCE, [_MODULE, target, most]


def _answer(answer: Any, seconds: float) -> str:
    """What the teacher sees."""
    if not isinstance(answer, dict):
        return f"error: the tool took more than {seconds:g} s, or died"
    if "error" in answer:
        return f"error: {answer['error']}"
    text = str(answer["text"])
    length = int(answer["length"])
    if length > len(text):
        return f"{text} [cut: {length:,} characters in all]"
    return text
