"""Whether a program passes its tests, run where it can harm nobody."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.sandbox import jail
from synth.sandbox.conversation import Talk
from synth.verifiers.base import Verifier

# Runs behind the program: what `solution()` returns, or the variable that holds the answer, or
# what was printed last.
_SAY = """
try:
    _said = solution()
except NameError:
    _names = [_name for _name in ("ans", "answer", "result") if _name in globals()]
    _said = globals()[_names[0]] if _names else None
if _said is not None:
    print(_said)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a confined program ended; its output and last error line.

    `passed`, `failed`, `timeout`, `memory`, `flood` (of output) or `threads` (too many).
    """

    status: str
    output: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RunPython(Verifier):
    r"""Runs a program and its tests without files, network, other processes or signals.

    Landlock, seccomp and rlimits confine it (Linux on x86_64 and aarch64, also inside containers);
    where they do not hold nothing is run. A program passes when the last line behind its tests has
    run, not when it ends early with status 0, and not when it prints that it passed. Tests and
    program share a process: a program written to take this very harness apart can still forge its
    own result, though reach nothing outside.

    Args:
        seconds: of CPU time; on the clock twice as many. At most an hour.
        megabytes: of address space.
        unsafe_exec: run without confinement where none is to be had. The limits stay; everything
            else is open.

    Raises:
        WrongUse: a limit that is none.

    Example:
        >>> code = "def double(x):\n    return 2 * x"
        >>> [RunPython().verify(code, f"assert double(3) == {n}") for n in (6, 7)]
        [True, False]
    """

    seconds: int = jail.SECONDS
    megabytes: int = jail.MEGABYTES
    unsafe_exec: bool = False

    def __post_init__(self) -> None:
        check_limit("run_python, seconds", self.seconds, jail.MOST_SECONDS)
        check_limit(
            "run_python, megabytes", self.megabytes, jail.MOST_MEGABYTES
        )

    def verify(self, code: str, tests: str) -> bool | None:
        """True where the tests pass, False where they do not, None where they did not end in time.

        Raises:
            WrongUse: this machine cannot confine a program.
        """
        status = self.run(code, tests).status
        return None if status == "timeout" else status == "passed"

    def answer(self, code: str) -> tuple[str, Outcome]:
        """What a program comes to ("" where it breaks or says nothing), and its outcome."""
        outcome = self.run(code, _SAY)
        answer = outcome.output.strip().rpartition("\n")[2][:200]
        return (answer if outcome.status == "passed" else ""), outcome

    def run(self, code: str, tests: str = "") -> Outcome:
        """The outcome of a program followed by its tests."""
        if len(code) + len(tests) > jail.MOST_CODE:
            return Outcome(
                "failed", error=f"more than {jail.MOST_CODE:,} characters"
            )
        talk = Talk(self.seconds, self.megabytes, unsafe=self.unsafe_exec)
        talk.hold(code, tests)
        output = talk.output.decode("utf-8", "replace")
        error = talk.error.decode("utf-8", "replace")
        last = error.strip().rpartition("\n")[2][:300]
        memory = last.startswith("MemoryError")
        began = talk.confined or memory or talk.status <= 0
        if not began:
            wanted = "a machine that can confine a program"
            todo = "Run it on Linux with Landlock (5.13 or newer) on x86_64 or aarch64, "
            todo += "or say unsafe_exec=true at your own risk."
            raise WrongUse(
                "run_python",
                last or f"exit status {talk.status}",
                wanted,
                todo,
            )
        if talk.passed:
            return Outcome("passed", output.rstrip("\n"))
        return Outcome(
            talk.why or self._ending(talk, memory=memory), output, last
        )

    def _ending(self, talk: Talk, *, memory: bool) -> str:
        """Why a program ended by itself: the kernel kills what has used up its CPU time."""
        # The kernel counts in ticks: on a busy machine well ahead of the sum that it reports.
        if talk.status == -signal.SIGKILL and talk.cpu >= 0.5 * self.seconds:
            return "timeout"
        return "memory" if memory else "failed"


def check_limit(name: str, value: object, most: float) -> None:
    """Raises WrongUse for a limit that is no number above 0, or beyond what can be meant."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= most:  # type: ignore[operator]
        wanted = f"a number above 0, at most {most:,}"
        raise WrongUse(name, repr(value), wanted, "Give a limit in that range.")
