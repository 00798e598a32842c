"""Keeps chains in which a critic finds no wrong step."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from synth.core.errors import TeacherError, require_count
from synth.core.records import Fields, Row, Verdict
from synth.filters.base_asking import MOST_VOTES, AskingFilter

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.calls.reading import Reading

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\"'$\\])")


@dataclass(frozen=True, kw_only=True)
class ProcessCritic(AskingFilter):
    """Asks for the first wrong step of a chain; the task of ProcessBench (Zheng et al.,
    arXiv:2412.06559).

    The final answer is not shown apart from the chain, so that a right answer cannot excuse a wrong
    step.

    Sees: one row. Costs: `votes` calls a row, and one more for each unreadable verdict.

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: a pack with the inputs question and steps, which says the number of the first wrong
            step, 0 for none.
        field: the field with the chain: a text, or a list of steps.
        cut: where a text is cut into steps: `lines`, or `sentences`.
        votes: opinions; the one given most often counts, a tie is unknown.
        journal: folder for the replies when used as a library, so that nothing is paid for twice;
            how it is asked then (`api_base`, `timeout`, `budget`, ...): see `CallOptions` of
            `synth.calls`.

    Reasons:
        wrong_step: a step is wrong.
        critic_unreadable: no number of a step can be read, or opinions tie (unknown).
        critic_failed: no reply came (unknown).
        no_steps: there is no chain.

    Marks: `first_wrong` (1 is the first step; 0 for none), `step` (its text), `steps` (how many),
    `critique`, `share` (of the votes).

    Example:
        >>> ProcessCritic(teacher="openai/gpt-4o", cut="sentences").steps_of(
        ...     {"rationale": "3 + 4 = 7. Then 7 + 5 = 13."}
        ... )
        ['3 + 4 = 7.', 'Then 7 + 5 = 13.']
    """

    pack: str = "critic_process"
    field: str = "rationale"
    cut: Literal["lines", "sentences"] = "lines"
    votes: int = 1

    reasons: ClassVar[dict[str, str]] = {
        "wrong_step": "a step is wrong",
        "critic_unreadable": "no number of a step",
        "critic_failed": "no reply came",
        "no_steps": "there is no chain",
    }

    def __post_init__(self) -> None:
        require_count("votes", self.votes, 1, MOST_VOTES)

    def needs(self) -> tuple[str, ...]:
        """The question and the chain."""
        return ("question", self.field)

    def calls(self, draws: int) -> float:
        """A call a vote."""
        return draws * self.votes

    def steps_of(self, row: Row) -> list[str]:
        """The steps of a row's chain."""
        chain = row.get(self.field) or ""
        if isinstance(chain, (list, tuple)):
            parts = chain
        elif self.cut == "lines":
            parts = chain.split("\n")
        else:
            parts = _SENTENCE.split(chain)
        return [text for part in parts if (text := str(part).strip())]

    async def about(self, row: Row, doors: Doors) -> Verdict:
        """Asks for the first wrong step."""
        steps = self.steps_of(row)
        if not steps:
            return Verdict(False, "no_steps", {"steps": 0})
        values = self.values({"question": row.get("question"), "steps": steps})
        try:
            outcomes = await asyncio.gather(
                *(
                    self.ask(values, doors, draw=vote, again=self.votes)
                    for vote in range(self.votes)
                )
            )
        except TeacherError as error:
            return Verdict(None, "critic_failed", {"failure": error.kind})
        readings = [reading for reading in outcomes if not reading.unreadable]
        ranked = Counter(
            number_of(reading, "first_wrong") for reading in readings
        ).most_common(2)
        if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
            return Verdict(
                None,
                "critic_unreadable",
                {
                    "steps": len(steps),
                    "reply": outcomes[0].completion.text[:200],
                },
            )
        return _verdict(
            ranked[0][0] or 0,
            steps,
            readings,
            ranked[0][1] / len(readings),
        )

    def fault(self, fields: Row, values: Row) -> str:
        """A number that names no step of the chain."""
        return out_of_range(fields, "first_wrong", 0, len(values["steps"]))


def _verdict(
    wrong: int, steps: Sequence[str], readings: Sequence[Reading], share: float
) -> Verdict:
    critique = next(
        reading.fields.get("critique", "")
        for reading in readings
        if number_of(reading, "first_wrong") == wrong
    )
    marks: Fields = {
        "first_wrong": wrong,
        "steps": len(steps),
        "critique": critique,
        "share": round(share, 4),
    }
    if wrong:
        marks["step"] = steps[wrong - 1]
    return Verdict(not wrong, "wrong_step" if wrong else "", marks)


def number_of(reading: Reading, field: str) -> int | None:
    """The whole number that a field of a reading holds, None where it holds something else."""
    return number_said(reading.fields.get(field, ""))


def out_of_range(fields: Row, field: str, least: int, most: int) -> str:
    """What is wrong with a field that should hold a whole number; "" where nothing is.

    >>> out_of_range({"choice": "7"}, "choice", 1, 4)
    'choice must be a whole number from 1 to 4'
    """
    number = number_said(fields.get(field, ""))
    if number is not None and least <= number <= most:
        return ""
    return f"{field} must be a whole number from {least} to {most}"


def number_said(text: object) -> int | None:
    """The whole number that a critic wrote, None where it wrote something else.

    >>> number_said("**2.**"), number_said("the second")
    (2, None)
    """
    digits = str(text).strip(" .#*")
    return int(digits) if digits.isdecimal() and len(digits) < 7 else None
