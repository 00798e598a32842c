"""A teacher that says again what another run was told."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from synth.calls.journal import Journal
from synth.core.errors import TeacherRefused
from synth.core.records import Request
from synth.teachers.base import Reply, Teacher
from synth.teachers.wire.replies import load_reply, read_chat


class Recorded(Teacher):
    """Answers from the journal of another run, and notes what was asked."""

    journal: ClassVar[Journal]
    asked: ClassVar[list[tuple[Request, str]]] = []

    async def ask(self, request: Request) -> Reply:
        """The reply that an endpoint of OpenAI's protocol gave to the same request."""
        raw = self.journal.get(replace(request, family="openai").key())
        if raw is None:
            raise TeacherRefused("not_recorded", request.step)
        completion = read_chat(load_reply(raw)[0])
        if completion.finish_reason == "stop" and not completion.reasoning:
            self.asked.append((request, completion.text))
        return Reply(raw, completion)
