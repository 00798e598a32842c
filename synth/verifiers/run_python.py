"""Whether a program passes its tests, run where it can harm nobody."""

from __future__ import annotations

import re
import secrets
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from synth.errors import WrongUse
from synth.verifiers import _jail

# Output beyond this is a flood: the program is ended.
MOST_OUTPUT = 1 << 20
_FENCE = re.compile(r"```(?:python|py|sql|sqlite)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)

# Runs behind the program: what `solution()` returns, or the variable that holds the answer, or what was printed last.
_SAY = """
try:
    _said = solution()
except NameError:
    _said = next((globals()[_name] for _name in ("ans", "answer", "result") if _name in globals()), None)
if _said is not None:
    print(_said)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a confined program ended: `passed`, `failed`, `timeout`, `memory` or `flood`; its output and last error line."""

    status: str
    output: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RunPython:
    r"""Runs a program and its tests in a process without files, network, other processes or signals.

    Landlock, seccomp and rlimits confine it (Linux on x86_64, also inside containers); where they do not hold nothing is run.
    A program passes when the last line behind its tests has run, not when it ends early with status 0. Tests and program share
    a process: this stops programs that are wrong or destructive, not ones written to forge their own result.

    Args:
        seconds: of CPU time; on the clock twice as many.
        megabytes: of address space.
        unsafe_exec: run without confinement where none is to be had. The limits stay; everything else is open.

    Example:
        >>> code = "def double(x):\n    return 2 * x"
        >>> RunPython().verify(code, "assert double(3) == 6"), RunPython().verify(code, "assert double(3) == 7")
        (True, False)
    """

    seconds: int = 5
    megabytes: int = 512
    unsafe_exec: bool = False

    def verify(self, code: str, tests: str) -> bool | None:
        """True where the tests pass, False where they do not, None where they did not end in time.

        Raises:
            WrongUse: this machine cannot confine a program.
        """
        status = self.run(code, tests).status
        return None if status == "timeout" else status == "passed"

    def answer(self, code: str) -> tuple[str, Outcome]:
        """What a program comes to ("" where it breaks or says nothing), and its outcome."""
        found = self.run(code, _SAY)
        return (found.output.strip().rpartition("\n")[2][:200] if found.status == "passed" else ""), found

    def run(self, code: str, tests: str = "") -> Outcome:
        """The outcome of a program followed by its tests."""
        word = secrets.token_hex(16)
        program = f"{code}\n{tests}\nprint({word!r}, flush=True)\n"
        words = [sys.executable, "-I", "-S", _jail.__file__, str(self.seconds), str(self.megabytes)]
        process = subprocess.Popen(  # noqa: S603 - confined by what it runs
            [*words, *(["--unsafe-exec"] if self.unsafe_exec else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, start_new_session=True, cwd="/",
        )  # fmt: skip
        try:
            output, error, ended = _converse(process, program.encode("utf-8", "replace"), 2.0 * self.seconds)
        finally:
            process.kill()
            process.wait()
        if process.returncode == _jail.REFUSED:
            todo = "Run it on Linux with Landlock (5.13 or newer), or say unsafe_exec=true (--unsafe-exec) at your own risk."
            raise WrongUse("run_python", error.strip(), "a machine that can confine a program", todo)
        return _judge(output, error, ended, process.returncode, word)


def _converse(process: subprocess.Popen[bytes], program: bytes, seconds: float) -> tuple[str, str, str]:
    """(output, errors, why it was ended or "") of a process that is fed the program and read until its end, the deadline or a flood."""
    assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - asked for as pipes
    try:
        process.stdin.write(program)
        process.stdin.close()
    except BrokenPipeError:
        pass
    deadline, parts = time.monotonic() + seconds, {process.stdout: bytearray(), process.stderr: bytearray()}
    ended = ""
    with selectors.DefaultSelector() as selector:
        for pipe in parts:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and not ended:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            ended = "" if ready else "timeout"
            for key, _ in ready:
                pipe = process.stdout if key.fileobj is process.stdout else process.stderr
                part = pipe.read1(65536)  # type: ignore[attr-defined]
                parts[pipe] += part
                if not part:
                    selector.unregister(pipe)
                elif len(parts[pipe]) > MOST_OUTPUT:
                    ended = "flood"
    if not ended:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            ended = "timeout"
    return (*(bytes(parts[pipe]).decode("utf-8", "replace") for pipe in (process.stdout, process.stderr)), ended)  # type: ignore[return-value]


def _judge(output: str, error: str, ended: str, status: int, word: str) -> Outcome:
    last = error.strip().rpartition("\n")[2][:300]
    if ended:
        return Outcome(ended, output, last)
    if output.rstrip("\n").rpartition("\n")[2] == word and status == 0:
        return Outcome("passed", output.rstrip("\n").rpartition("\n")[0])
    if status == -9:  # the kernel ends what has used up its CPU time
        return Outcome("timeout", output, last)
    return Outcome("memory" if last.startswith("MemoryError") else "failed", output, last)


def code_in(text: str) -> str:
    r"""The program in a reply: its fenced blocks, one after the other, or the whole text where nothing is fenced.

    >>> code_in("Here:\n```python\nx = 1\n```\nDone."), code_in("x = 2")
    ('x = 1', 'x = 2')
    """
    found = _FENCE.findall(text)
    return "\n".join(found) if found else text


def can_confine() -> bool:
    """Whether a confined program runs here and is refused a file, a socket and a process."""
    probe = (
        "import os, socket\n"
        "for attempt in (lambda: open('/etc/hostname'), lambda: socket.socket(), os.fork, lambda: os.listdir('/')):\n"
        "    try:\n        attempt()\n    except OSError:\n        continue\n    raise SystemExit(3)\n"
    )
    try:
        return Path("/etc/hostname").exists() and RunPython().run(probe).status == "passed"
    except WrongUse:
        return False
