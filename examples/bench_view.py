"""How fast `synth view` shows a run of a million rows, and what memory it takes: `make bench-view`.

The first run of this makes the rows (half a minute, 450 MB under runs/bench-view). The server is
the command itself, asked over HTTP; each page is fetched five times and the slowest counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from examples.million_rows import make_run
from synth.view.rows import RunRows

TIMES = 5


class Client(NamedTuple):
    """Somebody with the cookie."""

    port: int
    cookie: str

    def seconds(self, path: str) -> float:
        """How long a page takes."""
        start = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Cookie": self.cookie})
        response = connection.getresponse()
        response.read()
        assert response.status == 200, (path, response.status)  # noqa: S101
        connection.close()
        return time.perf_counter() - start


def enter(line: str) -> Client:
    """A client that brought the token of the printed address."""
    host, _, token = line.strip().removeprefix("http://").partition("/?token=")
    port = int(host.rpartition(":")[2])
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/?token={token}")
    response = connection.getresponse()
    cookie = str(response.getheader("Set-Cookie")).partition(";")[0]
    connection.close()
    return Client(port, cookie)


def memory(process: int) -> float:
    """The largest memory that a process had, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(x for x in status.splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def paths(folder: Path) -> dict[str, list[str]]:
    """Pages by what they show."""
    rows = RunRows(folder)
    dropped = rows.count("dropped")
    kept = rows.count("kept")
    counts = rows.run["counts"]["dropped"]
    rarest = min(counts, key=counts.__getitem__)
    places = [n * dropped // TIMES for n in range(TIMES)]
    row_id = rows.row("kept", kept // 2)["question"][:20].replace(" ", "+")
    return {
        "funnel": ["/0/"] * TIMES,
        "a page of all dropped rows": [
            f"/0/rows/dropped?from={n}" for n in places
        ],
        f"a page of the rarest reason, {rarest}": [
            f"/0/rows/dropped?reason={rarest}&from={n}" for n in places
        ],
        "a search that finds rows": [
            f"/0/rows/kept?word={row_id}&from={n * kept // TIMES}"
            for n in range(TIMES)
        ],
        "a search that finds none": ["/0/rows/kept?word=zzzz"] * TIMES,
        "course of the run": ["/0/course"] * TIMES,
        "a row, whole": [f"/0/row/dropped/{n}" for n in places],
        "a kept row, whole": [
            f"/0/row/kept/{n * kept // TIMES}" for n in range(TIMES)
        ],
    }


def main() -> None:
    """Makes the rows, serves them, and prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=Path("runs/bench-view"))
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    folder = make_run(options.output, options.rows)
    pages = paths(folder)
    words = [sys.executable, "-m", "synth.cli", "view", str(folder)]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None  # noqa: S101
            client = enter(server.stdout.readline())
            listening = time.perf_counter() - start
            print(f"rows: {options.rows:,}")
            print(f"from the command to the address: {listening:.2f} s")
            print(f"first page: {1000 * client.seconds('/0/'):.0f} ms")
            show(client, pages)
            print(f"memory at most: {memory(server.pid):.0f} MB")
        finally:
            server.terminate()


def show(client: Client, pages: dict[str, list[str]]) -> None:
    """Prints how long pages take: one at once, all of them once what is read ahead is there."""
    row = client.seconds(pages["a row, whole"][0])
    print(f"first row, while ids and replies are read: {1000 * row:.0f} ms")
    time.sleep(6)
    for name, listed in pages.items():
        slowest = max(client.seconds(path) for path in listed)
        print(f"{name}: {1000 * slowest:.0f} ms at most")


if __name__ == "__main__":
    main()
