"""Replies that are too much, contradict themselves or never end: each is one bounded fault, and memory stays flat."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import subprocess
import time
import tracemalloc
import zlib

import pytest

from synth.core.errors import Stopped, TeacherBusy
from synth.core.records import Request, Sampling
from synth.teachers.base import Settings, open_teacher
from synth.teachers.wire import http_client as _http
from synth.teachers.wire.http_client import (
    MOST_HEAD,
    MOST_LINES,
    BrokenReply,
    Endpoint,
    StaleConnection,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LATE = 0.25


class Wire:
    """What a server sends to every request, and how much of it went out.

    Args:
        first: sent at once.
        then: sent again and again behind it, at most so many times.
        pause: seconds between them.
        ends: whether the connection ends behind all that; else it hangs.
    """

    def __init__(self, first, then=b"", times=0, *, pause=0.0, ends=False):
        self.first, self.then, self.times, self.pause, self.ends = (
            first,
            then,
            times,
            pause,
            ends,
        )
        self.sent = self.requests = self.connections = 0

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(
                    int(
                        head.lower()
                        .split(b"content-length: ")[1]
                        .split(b"\r\n")[0]
                    )
                )
                self.requests += 1
                await self.answer(writer)
                if self.ends:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer):
        for piece in (self.first, *[self.then] * self.times):
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
            if self.pause:
                await asyncio.sleep(self.pause)


def post(wire, *, timeout=5.0, posts=1):
    """The last of so many replies."""

    async def work():
        server = await asyncio.start_server(wire.handle, "127.0.0.1", 0)
        endpoint = Endpoint(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1",
            {},
            timeout,
        )
        try:
            for _ in range(posts - 1):
                await endpoint.post(b"{}")
            return await endpoint.post(b"{}")
        finally:
            await endpoint.close()
            server.close()

    return asyncio.run(work())


MEGABYTE = b"x" * (1 << 20)
LINES = b"a: b\r\n" * 10_000
HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
TOO_MUCH = {
    "100 MB in one header": Wire(HEAD + b"X: ", MEGABYTE, 100),
    "100 MB in one header's name": Wire(HEAD, MEGABYTE, 100),
    "a million header lines": Wire(HEAD, LINES, 100),
    "one header line too many": Wire(
        HEAD + b"a: b\r\n" * (MOST_LINES + 1) + b"\r\n"
    ),
    "headers too long by one": Wire(
        HEAD + b"a: %b\r\n\r\n" % (b"x" * MOST_HEAD)
    ),
    "a status line without end": Wire(b"HTTP/1.1 200 ", MEGABYTE, 100),
    "empty lines without end": Wire(b"", b"\r\n" * 50_000, 100),
    "announcements without end": Wire(b"", HINT * 10_000, 100),
    "announcements with many headers": Wire(
        b"", b"HTTP/1.1 102 P\r\n" + b"a: b\r\n" * 100 + b"\r\n", 1000
    ),
    "a chunk's extension without end": Wire(CHUNKED + b"2;x=", MEGABYTE, 100),
    "chunks that are all extension": Wire(
        CHUNKED, b"1;" + b"x" * 60_000 + b"\r\no\r\n", 2000
    ),
    "a trailer without end": Wire(
        CHUNKED + b"2\r\nok\r\n0\r\nX: ", MEGABYTE, 100
    ),
    "a million trailers": Wire(CHUNKED + b"2\r\nok\r\n0\r\n", LINES, 100),
    "a body without end": Wire(HEAD + b"\r\n", MEGABYTE, 100),
    "a chunked body without end": Wire(
        CHUNKED, b"100000\r\n" + MEGABYTE + b"\r\n", 100
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_a_reply_that_is_too_much_is_given_up_early(case, monkeypatch):
    monkeypatch.setattr(_http, "MOST_BYTES", 4 << 20)
    wire = TOO_MUCH[case]
    with pytest.raises(BrokenReply, match="more than"):
        post(wire)
    # What the client read, and what lay in the buffers between the two.
    assert wire.sent < 24 << 20


CONTRADICTIONS = {
    "a length below zero": HEAD + b"Content-Length: -2\r\n\r\nok",
    "a length that is no number": HEAD + b"Content-Length: two\r\n\r\nok",
    "a length beyond every number": HEAD
    + b"Content-Length: 99999999999999999999999\r\n\r\nok",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "one length twice": HEAD
    + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "a length and chunks": HEAD
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks and a length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    "a chunk size below zero": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk size beyond every number": CHUNKED + b"f" * 30 + b"\r\nok",
    "a chunk longer than its size": CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "NUL in a header": HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a header's name": HEAD + b"X\0: a\r\nContent-Length: 2\r\n\r\nok",
    "a header without a name": HEAD + b": a\r\nContent-Length: 2\r\n\r\nok",
    "a header over two lines": HEAD
    + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "a status of letters": b"HTTP/1.1 two OK\r\nContent-Length: 2\r\n\r\nok",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "another protocol's upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "TLS where HTTP was due": b"\x15\x03\x01\x00\x02\x02\x46",
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_reply_that_contradicts_itself_is_broken(case):
    with pytest.raises(BrokenReply):
        post(Wire(CONTRADICTIONS[case]))


ENDLESS = {
    "one byte of a header at a time": Wire(
        HEAD + b"X: ", b"a", 1000, pause=0.05
    ),
    "one announcement at a time": Wire(b"", HINT, 1000, pause=0.05),
    "one byte of a body at a time": Wire(
        HEAD + b"Content-Length: 1000\r\n\r\n", b"a", 1000, pause=0.05
    ),
    "one chunk at a time": Wire(CHUNKED, b"1\r\na\r\n", 1000, pause=0.05),
    "one trailer at a time": Wire(
        CHUNKED + b"2\r\nok\r\n0\r\n", b"a: b\r\n", 1000, pause=0.05
    ),
    "a head without its last line": Wire(HEAD + b"Content-Length: 2\r\n"),
    "a last chunk that never comes": Wire(CHUNKED + b"2\r\nok\r\n"),
    "a body without a length that never ends": Wire(HEAD + b"\r\nok"),
    "nothing at all": Wire(b""),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_reply_that_drips_or_hangs_ends_with_the_timeout(case):
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        post(ENDLESS[case], timeout=LATE)
    assert LATE <= time.monotonic() - started < 10 * LATE


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_small_body_that_unpacks_to_much_is_given_up(
    encoding, pack, monkeypatch
):
    monkeypatch.setattr(_http, "MOST_BYTES", 4 << 20)
    bomb = pack(b"\0" * (32 << 20))
    head = HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (
        encoding.encode(),
        len(bomb),
    )
    tracemalloc.start()
    try:
        with pytest.raises(BrokenReply, match="longer than"):
            post(Wire(head + bomb))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "encoding",
    [b"br", b"gzip, gzip", b"gzip\r\nContent-Encoding: gzip", b"zip bomb"],
)
def test_an_encoding_that_nobody_asked_for_is_broken(encoding):
    packed = gzip.compress(gzip.compress(b"ok"))
    head = HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (
        encoding,
        len(packed),
    )
    with pytest.raises(BrokenReply, match="content-encoding"):
        post(Wire(head + packed))


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (429, TeacherBusy, "rate_limit"),
        (401, Stopped, "key"),
        (503, TeacherBusy, "http_503"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip", gzip.compress(b"{}")[:-3]],
    ids=["empty", "other", "cut"],
)
def test_a_refusal_counts_by_its_status_whatever_its_body_is(
    status, kind, name, body, monkeypatch
):
    head = (
        b"HTTP/1.1 %d No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % (status, len(body))
    )
    assert _asked(Wire(head + body), monkeypatch) == (kind, name)


def _asked(wire, monkeypatch, timeout=5.0):
    """(class, kind) of what a teacher makes of a server's answer."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    request = Request(
        model="m",
        messages=({"role": "user", "content": "hi"},),
        sampling=Sampling(),
    )

    async def work():
        server = await asyncio.start_server(wire.handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        teacher = open_teacher(
            "openai/m", Settings(api_base=url, timeout=timeout)
        )
        try:
            await teacher.ask(request)
        except (TeacherBusy, Stopped) as error:
            return type(error), error.kind
        finally:
            await teacher.close()
            server.close()

    return asyncio.run(work())


def test_each_of_them_is_a_fault_with_a_class(monkeypatch):
    broken, late = (TeacherBusy, "broken_reply"), (TeacherBusy, "timeout")
    assert _asked(TOO_MUCH["a million header lines"], monkeypatch) == broken
    assert _asked(Wire(CONTRADICTIONS["two lengths"]), monkeypatch) == broken
    assert (
        _asked(ENDLESS["one byte of a header at a time"], monkeypatch, LATE)
        == late
    )
    assert _asked(Wire(HEAD + b"Content-Le", ends=True), monkeypatch) == (
        TeacherBusy,
        "connection",
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status, monkeypatch):
    there = Wire(OK)

    async def work():
        other = await asyncio.start_server(there.handle, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        where = (
            b"HTTP/1.1 %d Go\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"
            % (status, port)
        )
        try:
            return await asyncio.to_thread(_asked, Wire(where), monkeypatch)
        finally:
            other.close()

    assert asyncio.run(work()) == (Stopped, "redirect")
    assert there.connections == 0


def test_a_body_of_one_byte_chunks_takes_the_memory_of_its_bytes():
    wire = Wire(CHUNKED + b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n")
    tracemalloc.start()
    try:
        assert post(wire).body == b"a" * 200_000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "reply",
    [
        CHUNKED
        + b"1;a=b\r\no\r\n1;c\r\nk\r\n0\r\nX-Sum: 1\r\nRetry-After: 9\r\n\r\n",
        HINT * 20 + OK,
        HEAD + b"a: b\r\n" * 200 + b"Content-Length: 2\r\n\r\nok",
        HEAD + b"a: %b\r\n" % (b"x" * 60_000) + b"Content-Length: 2\r\n\r\nok",
        b"\r\n" + OK,
    ],
    ids=[
        "extensions and trailers",
        "20 announcements",
        "200 headers",
        "a header of 60 kB",
        "an empty line before",
    ],
)
def test_what_is_odd_and_whole_is_read(reply):
    answer = post(Wire(reply))
    assert answer.body == b"ok"
    assert "retry-after" not in answer.headers


def test_a_header_that_comes_twice_is_a_list():
    assert (
        post(
            Wire(HEAD + b"A: 1\r\nContent-Length: 2\r\na: 2\r\n\r\nok")
        ).headers["a"]
        == "1, 2"
    )


def test_a_kept_connection_that_the_server_closes_under_a_request_is_asked_again_at_once():
    """The server takes every second request of a connection without a word: it may have billed it, so it is counted."""

    class Closing(Wire):
        async def handle(self, reader, writer):
            self.connections += 1
            await reader.readuntil(b"{}")
            await self.answer(writer)
            await reader.readuntil(b"{}")
            writer.close()

    async def work():
        server = await asyncio.start_server(Closing(OK).handle, "127.0.0.1", 0)
        endpoint = Endpoint(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", {}, 5.0
        )
        await endpoint.post(b"{}")
        with pytest.raises(StaleConnection):
            await endpoint.post(b"{}")
        answer = await endpoint.post(b"{}")
        await endpoint.close()
        server.close()
        return answer.body

    assert asyncio.run(work()) == b"ok"


@pytest.mark.parametrize("gap", [0.0, 0.02])
def test_kept_connections_that_the_server_closes_cost_no_pause(gap):
    """The server closes without a word behind each reply."""

    async def work():
        wire = Wire(OK, ends=True)
        server = await asyncio.start_server(wire.handle, "127.0.0.1", 0)
        endpoint = Endpoint(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", {}, 5.0
        )
        bodies = []
        while len(bodies) < 20:
            with contextlib.suppress(StaleConnection):
                bodies.append((await endpoint.post(b"{}")).body)
            await asyncio.sleep(gap)
        await endpoint.close()
        server.close()
        return bodies, wire

    bodies, wire = asyncio.run(work())
    assert bodies == [b"ok"] * 20
    assert wire.requests == 20


def test_a_connection_closed_unseen_is_noticed_before_a_request_goes_into_it():
    class Still(asyncio.Protocol):
        """A server whose side is closed by hand."""

        made: list = []

        def connection_made(self, transport):
            self.transport = transport
            self.made.append(transport)

        def data_received(self, data):
            self.transport.write(OK)

    async def work(poison):
        Still.made = []
        server = await asyncio.get_running_loop().create_server(
            Still, "127.0.0.1", 0
        )
        endpoint = Endpoint(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", {}, 5.0
        )
        await endpoint.post(b"{}")
        there = Still.made[0].get_extra_info("socket")
        # Straight to the system, within one turn of the loop: the client's transport cannot have heard of it.
        there._sock.send(OK) if poison else there._sock.shutdown(2)
        answer = await endpoint.post(b"{}")
        await endpoint.close()
        server.close()
        return answer.body, len(Still.made)

    for poison in (False, True):
        assert asyncio.run(work(poison)) == (b"ok", 2)


def test_tls_that_fails_is_a_fault_of_the_connection(tmp_path, monkeypatch):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=elsewhere -addext subjectAltName=DNS:elsewhere"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    request = Request(
        model="m",
        messages=({"role": "user", "content": "hi"},),
        sampling=Sampling(),
    )

    async def fault(tls, timeout):
        server = await asyncio.start_server(
            Wire(OK).handle, "localhost", 0, ssl=tls
        )
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/v1"
        teacher = open_teacher(
            "openai/m", Settings(api_base=url, timeout=timeout)
        )
        try:
            await teacher.ask(request)
        except TeacherBusy as error:
            return error.kind
        finally:
            await teacher.close()
            server.close()

    assert (
        asyncio.run(fault(context, 5.0)) == "connection"
    )  # a certificate that nobody signed
    assert (
        asyncio.run(fault(None, LATE)) == "timeout"
    )  # a server that waits for HTTP and says nothing
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert (
        asyncio.run(fault(context, 5.0)) == "connection"
    )  # a certificate for another host
