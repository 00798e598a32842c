"""Keeps rows whose program computes the right answer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.answers.golds import agrees, read_gold, shown
from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.replies.fences import code_in
from synth.sandbox import jail
from synth.verifiers.run_python import RunPython, check_limit


@dataclass(frozen=True, kw_only=True)
class ProgramAnswer(WorkFilter):
    """Runs a program (Program-of-Thought, Chen et al., arXiv:2211.12588) in a confined process and
    compares what it comes to.

    The answer is what `solution()` returns, else the variable `ans`, `answer` or `result`, else the
    last line that it prints.

    Sees: one row. Costs: a process of some 30 ms a row, `workers` at a time.

    Args:
        field: the field with the program, fenced or bare; the raw reply where a row lacks it.
        target: the field with the right answer.
        seconds: of CPU time a row.
        workers: programs at a time.
        unsafe_exec: run without confinement where none is to be had.

    Reasons:
        wrong_answer: it comes to something else.
        program_fails: it breaks, says nothing, or does not end.
        no_target: the row has no right answer (unknown).

    Marks: `computed`, `error`; `gold` where it comes to something else.

    Example:
        >>> rows = [{"code": f"ans = 3 * {n}", "target": "12"} for n in (4, 5)]
        >>> kept, dropped = ProgramAnswer().split(rows)
        >>> len(kept), dropped[0]["reason"], dropped[0]["marks"]["program_answer"]["computed"]
        (1, 'wrong_answer', '15')
    """

    field: str = "code"
    target: str = "target"
    seconds: int = jail.SECONDS
    workers: int = jail.WORKERS
    unsafe_exec: bool = False
    unknown: Literal["keep", "drop"] = "drop"

    reasons: ClassVar[dict[str, str]] = {
        "wrong_answer": "it comes to something else",
        "program_fails": "it breaks or says nothing",
        "no_target": "no right answer is known",
    }

    def __post_init__(self) -> None:
        check_limit("program_answer, workers", self.workers, jail.MOST_WORKERS)
        check_limit("program_answer, seconds", self.seconds, jail.MOST_SECONDS)

    def needs(self) -> tuple[str, ...]:
        """The right answer."""
        return (self.target,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, several programs at a time."""
        runner = RunPython(seconds=self.seconds, unsafe_exec=self.unsafe_exec)
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(lambda row: self._one(runner, row), rows))

    def _one(self, runner: RunPython, row: Row) -> Verdict:
        if row.get(self.target) is None:
            return Verdict(None, "no_target")
        answer, outcome = runner.answer(code_in(field_text(row, self.field)))
        marks = {"computed": answer, "error": outcome.error}
        if not answer:
            return Verdict(False, "program_fails", marks)
        gold = read_gold(row[self.target])
        if not gold.comparable:
            return Verdict(None, "no_target", marks)
        same = agrees(answer, gold) is True
        return Verdict(
            same,
            "" if same else "wrong_answer",
            marks if same else {**marks, "gold": shown(row[self.target])},
        )
