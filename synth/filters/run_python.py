"""Keeps rows whose program passes its tests."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.replies.fences import code_in
from synth.sandbox import jail
from synth.verifiers import run_python as verifier


@dataclass(frozen=True, kw_only=True)
class RunPython(WorkFilter):
    r"""Runs each row's program with its tests in a confined process; a machine that cannot confine
    it runs nothing.

    Sees: one row. Costs: a process of some 30 ms a row, `workers` at a time, and the program's own
    time.

    Args:
        field: the field that holds the program, fenced or bare; the raw reply where a row lacks it.
        tests: the field that holds the tests: Python statements behind the program, or a list of
            them.
        seconds: of CPU time a row.
        megabytes: of address space a row.
        workers: programs at a time.
        unsafe_exec: run without confinement where none is to be had.

    Reasons:
        tests_fail: an assertion fails or the program breaks.
        runs_wild: it ran out of memory, flooded its output or made too many threads.
        timeout: it did not end in time (unknown).
        no_tests: the row has none (unknown).

    Marks: `status`, `error` (its last line).

    Example:
        >>> rows = [
        ...     {"code": f"def double(x):\n    return x * {n}", "tests": "assert double(3) == 6"}
        ...     for n in (2, 3)
        ... ]
        >>> kept, dropped = RunPython().split(rows)
        >>> len(kept), dropped[0]["marks"]["run_python"]["error"]
        (1, 'AssertionError')
    """

    field: str = "code"
    tests: str = "tests"
    seconds: int = jail.SECONDS
    megabytes: int = jail.MEGABYTES
    workers: int = jail.WORKERS
    unsafe_exec: bool = False
    unknown: Literal["keep", "drop"] = "drop"

    reasons: ClassVar[dict[str, str]] = {
        "tests_fail": "an assertion fails or the program breaks",
        "runs_wild": "out of memory, a flood, or too many threads",
        "timeout": "no end in time",
        "no_tests": "no tests",
    }

    def __post_init__(self) -> None:
        verifier.check_limit(
            "run_python, workers", self.workers, jail.MOST_WORKERS
        )
        self._runner()  # a limit that is none is refused before anything is asked

    def needs(self) -> tuple[str, ...]:
        """The tests."""
        return (self.tests,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, several programs at a time."""
        runner = self._runner()
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(lambda row: self._one(runner, row), rows))

    def _runner(self) -> verifier.RunPython:
        limits = {"seconds": self.seconds, "megabytes": self.megabytes}
        return verifier.RunPython(**limits, unsafe_exec=self.unsafe_exec)

    def _one(self, runner: verifier.RunPython, row: Row) -> Verdict:
        tests = row.get(self.tests)
        if not tests:
            return Verdict(None, "no_tests", {"status": "no tests"})
        code = code_in(field_text(row, self.field))
        outcome = runner.run(
            code,
            "\n".join(map(str, tests))
            if isinstance(tests, list)
            else str(tests),
        )
        marks = {"status": outcome.status, "error": outcome.error}
        if outcome.status in ("passed", "timeout"):
            passed = outcome.status == "passed"
            return Verdict(
                True if passed else None, "" if passed else "timeout", marks
            )
        return Verdict(
            False,
            "tests_fail" if outcome.status == "failed" else "runs_wild",
            marks,
        )
