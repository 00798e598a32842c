"""llama.cpp's server, which speaks OpenAI's protocol: built once from the registry, started for a
model, ended with this process.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from examples.real import models
from synth.core.errors import WrongUse

# The sources of llama.cpp's server lie in this source distribution.
SOURCES = "llama-cpp-python==0.3.36"
_TARGET = "llama-server"
_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
}
_START_SECONDS = 180.0


def binary() -> Path:
    """The server: the one that POTSTILL_LLAMA_SERVER names, one on the path, or the cache's, which
    is built at first (some eight minutes on two cores).

    Raises:
        WrongUse: it cannot be fetched or built here.
    """
    named = os.environ.get("POTSTILL_LLAMA_SERVER") or shutil.which(_TARGET)
    if named:
        return Path(named)
    built = models.CACHE / _TARGET
    if not built.is_file():
        _build(built)
    return built


def _build(target: Path) -> None:
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            raise WrongUse(
                _TARGET,
                f"no {tool} on the path",
                "cmake and a C++ compiler, to build llama.cpp's server",
                "Install them, or set POTSTILL_LLAMA_SERVER to a server that you have.",
            )
    sys.stderr.write("building llama.cpp's server, once: some minutes\n")
    with sources() as source:
        folder = source.parent
        settings = [f"-D{key}={value}" for key, value in _OPTIONS.items()]
        log = models.CACHE / "build.log"
        with log.open("wb") as output:
            for words in (
                ["cmake", "-S", source, "-B", folder / "b", *settings],
                # Two at a time: an unlimited build fills the memory of a small machine.
                ["cmake", "--build", folder / "b", "--target", _TARGET, "-j2"],
            ):
                done = subprocess.run(  # noqa: S603 - our own words
                    [str(word) for word in words],
                    stdout=output,
                    stderr=output,
                    check=False,
                )
                if done.returncode:
                    raise WrongUse(
                        _TARGET,
                        f"a build that fails; its last lines are in {log}",
                        "a server",
                        "Set POTSTILL_LLAMA_SERVER to a server that you have.",
                    )
        shutil.move(folder / "b" / "bin" / _TARGET, target)


@contextmanager
def sources() -> Iterator[Path]:
    """The sources of llama.cpp, while the block runs.

    Raises:
        WrongUse: no registry has them.
    """
    models.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models.CACHE) as name:
        folder = Path(name)
        models.download(SOURCES, folder, "--no-binary", ":all:")
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        yield next(folder.glob("*/vendor/llama.cpp"))


@contextmanager
def serving(
    model: Path, *, slots: int = 4, context: int = 2048
) -> Iterator[str]:
    """The base URL of a server of one model, while the block runs.

    Args:
        model: a GGUF file.
        slots: requests side by side.
        context: tokens of prompt and reply, for each slot.

    Raises:
        WrongUse: it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Threads wait for each other actively: one without a core of its own slows all of them.
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [
                *(str(binary()), "--model", str(model), "--no-webui"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--parallel", str(slots), "--threads", str(threads)),
                *("--ctx-size", str(slots * context), "--jinja"),
            ],
            stdout=log,
            stderr=log,
            # A Ctrl-C is the run's, which waits for what the server still writes.
            start_new_session=True,
        )
        try:
            _wait(process, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/health", timeout=2
            ) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()[-5:]
    raise WrongUse(
        _TARGET,
        f"a server that does not come up: {' | '.join(lines)[-500:]}",
        "one that answers /health",
        "See whether the model's file is whole and the memory suffices.",
    )
