"""Answers that come by several ways: forms of thought in a chain or a vote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from finetune.measuring.votes import vote
from synth.core import registry
from synth.core.errors import Unreadable, WrongUse
from synth.core.records import Row
from synth.core.strict_yaml import read_yaml
from synth.parsers.base import Parser
from synth.replies.fences import code_in
from synth.verifiers.run_python import RunPython

Combine = Literal["fallback", "vote"]
PYTHON = "python"


class Form(BaseModel):
    """One way to think: a program, equations, words.

    Attributes:
        name: what the evaluation calls it.
        cue: stands behind each prompt, and says which form is wanted.
        read: `python` runs the reply's program, confined; else a parser that brings `answer`, such
            as `equations` or `final_number`.
        weight: of its vote.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    cue: str = ""
    read: str = "final_number"
    weight: float = Field(1.0, gt=0)

    def parser(self) -> Parser | None:
        """The parser; None for programs."""
        if self.read == PYTHON:
            return None
        built: Parser = registry.build(
            "synth.parsers", self.read, f"form {self.name}"
        )
        return built


class _Forms(BaseModel):
    model_config = ConfigDict(extra="forbid")

    forms: list[Form] = Field(min_length=1)


def read_forms(path: str | Path) -> list[Form]:
    """The forms of a YAML file, `forms: [{name, cue, read, weight}, ...]`, in the order in which
    they are tried.

    Raises:
        WrongUse: no such file, a field that is wrong, an unknown parser, a name twice.
    """
    try:
        forms = _Forms.model_validate(read_yaml(Path(path))[0]).forms
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WrongUse(
            f"--forms {path}",
            f"{where}: {first['msg']}",
            "forms: [{name, cue, read, weight}]",
            "Correct the file.",
        ) from error
    names = [form.name for form in forms]
    if len(set(names)) < len(names):
        raise WrongUse(
            f"--forms {path}",
            f"names {', '.join(names)}",
            "each name once",
            "Rename one.",
        )
    for form in forms:
        form.parser()
    return forms


def answer_of(form: Form, reply: str, row: Row) -> str | None:
    r"""What a reply in this form comes to; None where the program breaks, the equations have no
    solution, or no parser reads it.

    >>> answer_of(Form(name="equations", read="equations"), "x = 3 * 4\nans = x - 2", {})
    '10'
    """
    parser = form.parser()
    if parser is None:
        return RunPython().answer(code_in(reply))[0] or None
    try:
        answer = parser.parse(reply, row).get("answer")
    except Unreadable:
        return None
    return None if answer is None else str(answer)


def combine(
    forms: Sequence[Form], answers: Sequence[str | None], how: Combine
) -> list[tuple[str, float]]:
    """The answers that count, each with its share of the credit.

    `fallback`: the first form that comes to an answer (program, then equations, then words:
    Ensemble Thoughts, arXiv:2401.11864); `vote`: the forms vote with their weights, ties share.

    >>> forms = [Form(name="program", read="python"), Form(name="words", weight=2.0)]
    >>> combine(forms, [None, "4"], "fallback")
    [('4', 1.0)]
    >>> combine(forms, ["3", "4"], "fallback")
    [('3', 1.0)]
    >>> combine(forms, ["3", "4"], "vote")
    [('4', 1.0)]
    """
    if how == "vote":
        return vote(answers, [form.weight for form in forms], "s")
    return next(
        ([(answer, 1.0)] for answer in answers if answer is not None), []
    )
