"""Files that a store breaks off while they are read: asked for again, or named, and no row missed."""

from __future__ import annotations

import io
import itertools
import socket
import threading
from collections.abc import Container
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth.core.errors import WrongUse
from synth.inputs.seeds import read_rows
from tests.conftest import rest_long


class Handler(BaseHTTPRequestHandler):
    """Sends one file, and breaks off amid the answers that `cut` numbers.

    With `how` "ranges" it says that it sends parts; with "whole" it sends all or nothing, as
    `python -m http.server` does; with "chunked" it does not even say how much.
    """

    protocol_version = "HTTP/1.1"
    data = b""
    cut: Container[int] = ()
    how = "ranges"
    answers = itertools.count(1)

    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.head(len(self.data))

    def head(self, size):
        if self.how == "ranges":
            self.send_header("Accept-Ranges", "bytes")
        if self.how == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self):
        body = self.data
        asked = self.headers.get("Range")
        if asked and self.how == "ranges":
            first, last = (int(n) for n in asked[6:].split("-"))
            body = body[first : last + 1]
            end = first + len(body) - 1
            self.send_response(206)
            where = f"bytes {first}-{end}/{len(self.data)}"
            self.send_header("Content-Range", where)
        else:
            self.send_response(200)
        self.head(len(body))
        is_cut = next(self.answers) in self.cut
        part = body[: len(body) // 2] if is_cut else body
        if self.how == "chunked":
            part = b"%x\r\n%b\r\n" % (len(part), part)
            part += b"" if is_cut else b"0\r\n\r\n"
        # a client that wants to know the length alone does not read to the end
        with suppress(OSError):
            self.wfile.write(part)
            self.wfile.flush()
        if is_cut:
            self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def breaking(data, cut=(), how="ranges", name="x.jsonl"):
    fields = {"data": data, "cut": cut, "how": how}
    answers = {"answers": itertools.count(1)}
    handler = type("OneFile", (Handler,), fields | answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{name}"
    finally:
        server.shutdown()
        server.server_close()


MANY = [{"question": f"{n} " + "x" * 100, "n": n} for n in range(55_000)]
MANY_LINES = b"".join(orjson.dumps(row) + b"\n" for row in MANY)
HOW = ("ranges", "whole", "chunked")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("cut", rest_long([{2, 3}, {1}]))
def test_what_a_store_breaks_off_is_asked_for_again(cut, how):
    with breaking(MANY_LINES, cut, how) as url:
        assert list(read_rows(url)) == MANY


@pytest.mark.parametrize(
    ("how", "first"),
    [("ranges", 1), ("ranges", 2), ("ranges", 3), ("whole", 2), ("chunked", 2)],
)
def test_a_store_that_breaks_off_is_named_and_no_row_is_missed(how, first):
    with (
        breaking(MANY_LINES, range(first, 100), how) as url,
        pytest.raises(WrongUse) as caught,
    ):
        list(read_rows(url))
    said = str(caught.value)
    assert url in said
    assert "read to its end" in said


@pytest.mark.parametrize("how", HOW)
def test_a_table_is_read_from_any_server(how):
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(MANY[:100]), table)
    with breaking(table.getvalue(), {2}, how, "x.parquet") as url:
        assert list(read_rows(url)) == MANY[:100]
