"""A lean HTTP/1.1 client for one URL: kept connections, httptools as the parser, proxies by
CONNECT.

Why not aiohttp: its sessions, cookies, redirects and streams, which a teacher never needs, take
four times the CPU of a call (0.06 and 0.27 ms with no latency, `make bench-http`), and would make a
row half as dear again. At 10,000 calls a minute that is 1 and 5 % of a core.
"""

from __future__ import annotations

import asyncio
import base64
import select
import ssl
import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from math import inf
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools

from synth.core.errors import WrongUse
from synth.teachers.wire.connecting import open_socket

# Replies beyond this are not read: 64 MiB, on the wire (framing included) as well as unpacked.
MOST_BYTES = 64 * 1024 * 1024
# Header lines of one reply: those of announcements before it (1xx) and of trailers behind it
# included.
MOST_LINES = 256
# Bytes that may pass without one of a body: all these lines, a long one, a chunk's extensions.
MOST_HEAD = 64 * 1024
CONNECT_SECONDS = 30.0
# A connection that rested longer is not used again: what stands between may have forgotten it
# without a word.
IDLE_SECONDS = 45.0
# How many timeouts a request may wait for its first byte while a slow server answers others.
MOST_TIMEOUTS = 5.0
# Called right before a request is written, where set; it may raise what ends the call. Between the
# door and this moment a connection may have been made, which takes time.
MAY_SEND: ContextVar[Callable[[], None] | None] = ContextVar(
    "MAY_SEND", default=None
)
_PORTS = {"http": 80, "https": 443}
_INFLATE = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Answer(NamedTuple):
    """Status, headers (names in lower case) and body of one reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BrokenReply(Exception):
    """What came back is no whole HTTP reply."""


class StaleConnection(ConnectionResetError):
    """A kept connection that the server closed just when a request went into it, without a byte of
    a reply.
    """


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    transport: asyncio.Transport
    rests_since = 0.0

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._watch: select.poll | None = None
        self._tunnels = False
        self._clear()

    def _clear(self) -> None:
        self._headers: dict[str, str] = {}
        self._lines: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._in_body = False
        # Lines of announcements before the reply.
        self._announced = 0
        self._size = self._barren = 0

    def exchange(
        self, request: bytes, *, tunnels: bool = False
    ) -> asyncio.Future[Answer]:
        """Sends a request; the future brings the reply. A request that `tunnels` (CONNECT) has no
        body in its reply.
        """
        self._clear()
        self._tunnels = tunnels
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiter

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return self._waiter is None and not self.transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether not one byte of a reply has come."""
        return self._size == 0

    def fresh(self) -> bool:
        """Whether a connection that rested may serve again.

        The server may have closed it, or sent what nobody asked for, since the loop last looked. A
        request that goes into such a connection is lost, and nobody knows whether it was billed: it
        is noticed before anything is sent.
        """
        if not self.reusable:
            return False
        if self._watch is None:
            self._watch = select.poll()
            self._watch.register(
                self.transport.get_extra_info("socket").fileno(), select.POLLIN
            )
        if self._watch.poll(0):
            self.transport.abort()
            return False
        return True

    def connection_made(self, transport: Any) -> None:
        """Asyncio hands the transport over."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; bytes that nobody asked for end the connection."""
        if self._waiter is None:
            self.transport.abort()
            return
        self._size += len(data)
        self._barren += len(data)
        if self._size > MOST_BYTES:
            self.fail(BrokenReply(f"more than {MOST_BYTES:,} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except (
            httptools.HttpParserError,
            httptools.HttpParserUpgrade,
        ) as error:
            self.fail(BrokenReply(f"{type(error).__name__}: {error}"))
        if self._barren > MOST_HEAD:
            self.fail(
                BrokenReply(
                    f"more than {MOST_HEAD:,} bytes without one of a body"
                )
            )

    def on_message_begin(self) -> None:
        """A reply begins, or one that nobody asked for follows another."""
        if self._waiter is None:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; those of a trailer say nothing to us."""
        self._lines.append((name, value))

    def _is_too_long(self) -> bool:
        """Gives up a reply that has too many lines beside its body."""
        if len(self._lines) + self._announced <= MOST_LINES:
            return False
        self.fail(BrokenReply(f"more than {MOST_LINES} header lines"))
        return True

    def on_headers_complete(self) -> None:
        """The head is whole; lines of one name become a list."""
        if self._is_too_long():
            return
        self._in_body = True
        lines = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in self._lines
        ]
        self._headers = dict(lines)
        if len(self._headers) < len(lines):
            self._headers = _joined(lines)
        if self._tunnels:
            self._arrived()

    def on_body(self, part: bytes) -> None:
        """A piece of the body."""
        self._body += part
        self._barren = 0

    def on_message_complete(self) -> None:
        """The reply is whole; 1xx ones only announce another."""
        if self._is_too_long():
            return
        if self._parser.get_status_code() < 200:
            self._announced += len(self._lines) + 1
            self._headers = {}
            self._lines = []
            self._in_body = False
        elif self._waiter is not None:
            self._arrived()
            if not self._parser.should_keep_alive():
                self.transport.close()

    def _arrived(self) -> None:
        waiter = self._waiter
        self._waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(
                Answer(
                    self._parser.get_status_code(),
                    self._headers,
                    bytes(self._body),
                )
            )
            self._body = bytearray()

    def connection_lost(self, error: Exception | None) -> None:
        """The other side is gone: the end of a body without a length, or of our hopes."""
        measured = (
            "content-length" in self._headers
            or "transfer-encoding" in self._headers
        )
        if self._in_body and not measured and error is None:
            self._arrived()
        elif self._in_body:
            self.fail(BrokenReply("the connection ended inside the body"))
        else:
            self.fail(
                ConnectionResetError(
                    f"the connection ended before the reply{f' ({error})' if error else ''}"
                )
            )

    def fail(self, error: Exception) -> None:
        """Ends the exchange and the connection."""
        waiter = self._waiter
        self._waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.transport.abort()

    def secured(self, transport: Any) -> None:
        """From here on the tunnel carries TLS."""
        self.transport = transport
        self._parser = httptools.HttpResponseParser(self)


class Endpoint:
    """Posts JSON to one URL, or gets what stands there.

    Args:
        url: http or https.
        headers: sent with every request.
        timeout: seconds for one request, from connecting to the last byte. A server whose last
            reply took a quarter of it or more is slow, not dead: a request that waits for its
            first byte there is given up when no reply at all has come for so long, or after
            MOST_TIMEOUTS of them.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout: float
    ) -> None:
        self._url = urlsplit(url)
        self.timeout = timeout
        self._proxy = _proxy(self._url)
        self._tls = (
            ssl.create_default_context()
            if self._url.scheme == "https"
            else None
        )
        path = self._url.path or "/"
        if self._url.query:
            path += f"?{self._url.query}"
        absolute = self._proxy is not None and self._tls is None
        more = {
            **headers,
            **(_basic(self._proxy) if absolute and self._proxy else {}),
        }
        lines = [
            f"{url if absolute else path} HTTP/1.1",
            f"Host: {_host_header(self._url)}",
            *(f"{k}: {v}" for k, v in more.items()),
        ]
        self._head = "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
        self._idle: list[Connection] = []
        # When the last whole reply came, and how long it took.
        self._heard = self._took = 0.0
        self._deadlines = Deadlines(self)

    def post(self, body: bytes) -> Coroutine[Any, Any, Answer]:
        """The reply to a body, once it is awaited.

        Raises:
            TimeoutError: not whole within the timeout.
            OSError: no connection, or lost before the reply began.
            BrokenReply: lost inside the reply, or no HTTP.
        """
        return self._exchange(b"POST", body)

    def get(self) -> Coroutine[Any, Any, Answer]:
        """The reply to a request without a body; raises as `post` does."""
        return self._exchange(b"GET", b"")

    async def _exchange(self, method: bytes, body: bytes) -> Answer:
        loop = asyncio.get_running_loop()
        now = loop.time()
        reusable = self._reusable(now)
        connection = reusable or await self._connect()
        if MAY_SEND.get() is not None:
            self._check(connection)
        waiter = connection.exchange(
            b"%b %b%d\r\n\r\n%b" % (method, self._head, len(body), body)
        )
        self._deadlines.watch(connection, now)
        try:
            answer = await waiter
        except asyncio.CancelledError:
            connection.transport.abort()
            raise
        except ConnectionResetError as error:
            if reusable is not None and reusable.silent:
                raise StaleConnection(str(error)) from error
            raise
        finally:
            self._deadlines.forget(connection)
        self._heard = loop.time()
        self._took = self._heard - now
        if connection.reusable:
            connection.rests_since = self._heard
            self._idle.append(connection)
        if "content-encoding" not in answer.headers:
            return answer
        return _inflated(answer)

    @staticmethod
    def _check(connection: Connection) -> None:
        """Lets the connection go where nothing may be sent any more."""
        may_send = MAY_SEND.get()
        if may_send is None:
            return
        try:
            may_send()
        except BaseException:
            connection.transport.abort()
            raise

    def deadline(self, connection: Connection, began: float) -> float:
        """When a request that began at a time is given up, as things stand (seconds of the loop's
        clock).
        """
        plain = began + self.timeout
        if not connection.silent or self._took < self.timeout / 4:
            return plain
        latest = began + MOST_TIMEOUTS * self.timeout
        return min(max(plain, self._heard + self.timeout), latest)

    def _reusable(self, now: float) -> Connection | None:
        """A connection that may serve again; those that rested too long are closed."""
        while self._idle:
            connection = self._idle.pop()
            young = now - connection.rests_since < IDLE_SECONDS
            if young and connection.fresh():
                return connection
            connection.transport.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        there = self._proxy or self._url
        direct = None if self._proxy else self._tls
        async with asyncio.timeout(min(CONNECT_SECONDS, self.timeout)):
            port = there.port or _PORTS[there.scheme]
            one = await open_socket(str(there.hostname), port)
            try:
                _, connection = await loop.create_connection(
                    Connection,
                    sock=one,
                    ssl=direct,
                    server_hostname=there.hostname if direct else None,
                )
            except BaseException:
                one.close()
                raise
            if self._proxy and self._tls:
                await self._tunnel(connection)
        return connection

    async def _tunnel(self, connection: Connection) -> None:
        """Asks the proxy for a way through and speaks TLS over it."""
        assert self._proxy is not None  # noqa: S101 - the caller checked
        target = f"{self._url.hostname}:{self._url.port or 443}"
        lines = [
            f"CONNECT {target} HTTP/1.1",
            f"Host: {target}",
            *(f"{k}: {v}" for k, v in _basic(self._proxy).items()),
        ]
        answer = await connection.exchange(
            "\r\n".join([*lines, "", ""]).encode("latin-1"), tunnels=True
        )
        if answer.status != 200:
            raise ConnectionError(f"the proxy answered HTTP {answer.status}")
        loop = asyncio.get_running_loop()
        tls = self._tls or ssl.create_default_context()
        connection.secured(
            await loop.start_tls(
                connection.transport,
                connection,
                tls,
                server_hostname=self._url.hostname,
            )
        )

    async def close(self) -> None:
        """Closes the kept connections."""
        self._deadlines.close()
        for connection in self._idle:
            connection.transport.close()
        self._idle = []
        await asyncio.sleep(0)


class Deadlines:
    """Gives requests up when their time is over. One timer serves all requests of an endpoint: it
    goes off at the end of the oldest, and looks then whose time is really over.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # When each exchange under way began, the oldest first.
        self._began: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf

    def watch(self, connection: Connection, began: float) -> None:
        """An exchange is under way from here on."""
        self._began[connection] = began
        # One that had to connect may be the oldest of all. No deadline is earlier than this.
        if began + self._endpoint.timeout < self._next:
            self._look()

    def forget(self, connection: Connection) -> None:
        """The exchange has ended."""
        self._began.pop(connection, None)
        if not self._began:
            # No timer outlives its loop: the next exchange may be under another one.
            self.close()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.close()
        for connection, began in list(self._began.items()):
            ends = self._endpoint.deadline(connection, began)
            if ends <= now:
                self.forget(connection)
                connection.fail(TimeoutError())
            else:
                self._next = min(self._next, ends)
        if self._next < inf:
            self._timer = loop.call_at(self._next, self._look)

    def close(self) -> None:
        """Nothing is given up any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._next = inf


def _joined(lines: Sequence[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in lines:
        before = headers.get(name)
        headers[name] = value if before is None else f"{before}, {value}"
    return headers


def _host_header(url: SplitResult) -> str:
    """The address without user and password."""
    return url.netloc.rpartition("@")[2]


def _proxy(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for a URL."""
    address = (
        None
        if proxy_bypass(url.hostname or "")
        else getproxies().get(url.scheme)
    )
    if not address:
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http":
        todo = f"Name an HTTP proxy, or take {url.hostname} out with NO_PROXY."
        raise WrongUse(
            f"{url.scheme.upper()}_PROXY",
            f"a {proxy.scheme} proxy",
            "http://HOST:PORT",
            todo,
        )
    return proxy


def _basic(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    word = base64.b64encode(
        f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    ).decode()
    return {"Proxy-Authorization": f"Basic {word}"}


def _inflated(answer: Answer) -> Answer:
    """The reply with its body unpacked (some servers pack without being asked).

    A refusal counts by its status, whatever its body is.
    """
    try:
        return answer._replace(
            body=_unpacked(answer.body, answer.headers["content-encoding"])
        )
    except BrokenReply:
        if answer.status == 200:
            raise
        return answer._replace(body=b"")


def _unpacked(body: bytes, encoding: str) -> bytes:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    try:
        unpack = zlib.decompressobj(_INFLATE[encoding])
        unpacked = unpack.decompress(body, MOST_BYTES)
    except (KeyError, zlib.error) as error:
        raise BrokenReply(
            f"content-encoding {encoding[:20]!r}: {error!s:.60}"
        ) from error
    if not unpack.eof:
        raise BrokenReply(
            f"a packed body that is cut off or longer than {MOST_BYTES:,} bytes"
        )
    return unpacked
