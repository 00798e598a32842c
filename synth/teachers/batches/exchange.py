"""HTTP to one provider's base: JSON, files up, results down; refusals become ours here."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any
from urllib.parse import parse_qsl

from synth.core.errors import TeacherBusy
from synth.core.records import Fields, ordered_json
from synth.teachers.openai_chat import Target
from synth.teachers.wire.faults import error_of, read_problem
from synth.teachers.wire.replies import load_reply

# Tries of what may be asked twice, and seconds between them: at first, and at most.
TRIES = 6
PAUSE = (0.5, 8.0)
# Bytes of the results of one batch; and those that stay in memory, the rest lies in a file.
MOST_RESULTS = 8 * 1024**3
_IN_MEMORY = 64 * 1024**2
# Bytes of a refusal that are read.
_MOST_WORDS = 1_000_000


class Exchange:
    """Requests under one base. Redirects are not followed: a key goes to no other host.

    Args:
        target: base, query, and what takes secrets out of texts.
        headers: sent with every request.
        timeout: seconds without a byte.
    """

    def __init__(
        self, target: Target, headers: Mapping[str, str], timeout: float
    ) -> None:
        self._target = target
        self._headers = {
            "User-Agent": "potstill",
            **headers,
            **target.headers,
        }
        self._timeout = timeout
        self._client: Any = None

    def _open(self) -> Any:
        if self._client is None:
            import httpx  # noqa: PLC0415 - a second of CPU, for batches alone

            self._client = httpx.AsyncClient(
                headers=self._headers,
                params=dict(parse_qsl(self._target.query)),
                timeout=self._timeout,
                follow_redirects=False,
            )
        return self._client

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        once: bool = False,
        **more: Any,
    ) -> Fields:
        """The JSON object that a path answers with.

        Args:
            method: of HTTP.
            path: behind the base, quoted.
            body: is sent as JSON; bytes are JSON already.
            once: never asked a second time.
            more: `params`, `files`, `headers` of httpx.

        Raises:
            TeacherBusy: no answer or a passing trouble, after all tries.
            TeacherRefused, Stopped: it will not be different.
        """
        if body is not None:
            text = body if isinstance(body, bytes) else ordered_json(body)
            json_type = {"Content-Type": "application/json"}
            more = {
                **more,
                "content": text,
                "headers": {**json_type, **more.get("headers", {})},
            }
        for attempt in range(TRIES):
            try:
                return await self._answer(method, path, more)
            except TeacherBusy as error:
                if once or attempt == TRIES - 1:
                    raise
                await asyncio.sleep(_pause(attempt, error))
        raise AssertionError("the last try returns or raises")

    async def _answer(self, method: str, path: str, more: Fields) -> Fields:
        response = await self.raw(method, self._target.base + path, **more)
        if response.is_success:
            body = response.content or b"{}"
            if body.lstrip().startswith(b"["):
                # A list stands under the name that others give it.
                body = b'{"data":%b}' % body
            return load_reply(body)[0]
        raise self._refusal(response, response.content)

    async def raw(self, method: str, url: str, **more: Any) -> Any:
        """The answer of a URL, whatever its status.

        Raises:
            TeacherBusy: none came.
        """
        import httpx  # noqa: PLC0415 - as above

        try:
            return await self._open().request(method, url, **more)
        except httpx.TransportError as error:
            raise self._lost(error) from error

    async def put(self, url: str, content: bytes) -> None:
        """Puts a file to a URL that the provider signed: without key and headers.

        Raises:
            TeacherBusy: it did not arrive.
            TeacherRefused, Stopped: it is not taken.
        """
        import httpx  # noqa: PLC0415 - as above

        try:
            async with httpx.AsyncClient(timeout=self._timeout) as client:
                response = await client.put(url, content=content)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        if not response.is_success:
            raise self._refusal(response, response.content)

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of a file of results, once all of it has come.

        Raises:
            TeacherBusy: it did not come whole, after all tries.
        """
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            for attempt in range(TRIES):
                file.seek(0)
                file.truncate()
                try:
                    await self._download(self._target.base + path, file)
                    break
                except TeacherBusy as error:
                    if attempt == TRIES - 1:
                        raise
                    await asyncio.sleep(_pause(attempt, error))
            file.seek(0)
            for line in file:
                if line.strip():
                    yield line.strip()

    async def _download(self, url: str, file: IO[bytes]) -> None:
        import httpx  # noqa: PLC0415 - as above

        taken = 0
        try:
            async with self._open().stream("GET", url) as response:
                async for part in response.aiter_bytes():
                    taken += len(part)
                    file.write(part)
                    most = MOST_RESULTS if response.is_success else _MOST_WORDS
                    if taken > most:
                        raise TeacherBusy(
                            "broken_reply", f"more than {most:,} bytes"
                        )
        except httpx.TransportError as error:
            raise self._lost(error) from error
        if not response.is_success:
            file.seek(0)
            raise self._refusal(response, file.read())

    def _lost(self, error: Exception) -> TeacherBusy:
        words = f"{type(error).__name__}: {error}"
        return TeacherBusy("connection", self.scrub(words))

    def _refusal(self, response: Any, body: bytes) -> Exception:
        headers = {
            name.lower(): value for name, value in response.headers.items()
        }
        problem = read_problem(response.status_code, body)
        return error_of(problem, headers, self.scrub, f"at {response.url}")

    def scrub(self, text: str) -> str:
        """A text without keys, short enough to be shown."""
        return self._target.redact(text)[:300]

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _pause(attempt: int, error: TeacherBusy) -> float:
    """Seconds before another try: what the server says, within bounds."""
    first, most = PAUSE
    return min(most, error.retry_after or first * 2**attempt)
