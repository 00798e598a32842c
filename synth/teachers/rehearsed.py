"""A pack's own recorded replies (cases.yaml) as a teacher: every step can be walked before a call
is paid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synth.core.errors import TeacherRefused, WrongUse
from synth.core.records import Call, Fields, Request, Values, canonical_json
from synth.packs.pack import Pack
from synth.teachers.base import Reply, Settings, Teacher, chat_reply


def _fits(case: Fields, request: Request) -> bool:
    """Whether a case has the inputs of a request."""
    inputs = request.inputs
    wanted = case["inputs"]
    return all(inputs.get(name) == wanted[name] for name in wanted)


def calls_of(reply: Values) -> list[Call]:
    """The calls of tools in a recorded reply."""
    return [
        Call(str(call["name"]), _text(call["arguments"]))
        for call in reply["calls"]
    ]


def _text(arguments: Any) -> str:
    """The arguments of a recorded call, as a teacher sends them."""
    if isinstance(arguments, str):
        return arguments
    return canonical_json(arguments).decode()


class Rehearsed(Teacher):
    """Answers each question of a case with the replies that the case records for that step, in
    order of draws (or of list elements).

    No model is asked: what comes out shows the shape of the rows, not their quality.

    Args:
        model: name or folder of the pack.

    A reply with `where: {field: value}` is for questions that have that value, such as one element
    of a list that a step spreads.
    """

    family = "rehearsed"

    def __init__(self, model: str, settings: Settings) -> None:
        self.model = Path(model).name
        pack = Pack.load(model, plugins=settings.plugins)
        self._cases = pack.cases()
        if not self._cases:
            raise WrongUse(
                f"--teacher rehearsed/{model}",
                "a pack without cases.yaml",
                "one with recorded replies",
                "Record some.",
            )
        self._first = pack.steps[0].name

    async def ask(self, request: Request) -> Reply:
        """The next recorded reply.

        Raises:
            TeacherRefused: `not_rehearsed`, where no case has these inputs, or no reply for the
                step.
        """
        case = next(
            (case for case in self._cases if _fits(case, request)), None
        )
        replies = [
            r
            for r in (case or {}).get("replies", [])
            if r.get("step", self._first) == request.step
        ]
        replies = [
            r
            for r in replies
            if r.get("where", {}).items() <= request.inputs.items()
        ]
        if not replies:
            raise TeacherRefused(
                "not_rehearsed",
                f"no recorded reply for step {request.step} of seed {request.seed_id}",
            )
        turn = request.draw + int(request.inputs.get("index") or 0)
        recorded = replies[turn % len(replies)]
        text = str(recorded["text"])
        finish = str(recorded.get("finish_reason", "stop"))
        return chat_reply(
            text,
            finish_reason=finish,
            calls=calls_of(recorded),
            model=f"rehearsed/{self.model}",
            prompt_tokens=0,
            completion_tokens=len(text.split()),
        )
