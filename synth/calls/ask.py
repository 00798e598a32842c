"""One question of one sample: render -> ask -> parse. The pipeline and the critics both walk it."""

from __future__ import annotations

from typing import Any, NamedTuple

from synth.calls.door import Doors
from synth.core.errors import Unreadable
from synth.core.records import Completion, Fields, Row
from synth.packs.step import Step
from synth.parsers.base import Reply

# A larger number, an infinite one and NaN say nothing.
_MOST_LOGPROB = 1e6


class Reading(NamedTuple):
    """What came of a question: the parsed fields, or why they could not be read."""

    fields: Row
    completion: Completion
    meta: Row
    unreadable: Unreadable | None = None


# Why a reply could not be read, where the provider itself says that it is not whole.
_ENDED = {"length": "cut_off", "content_filter": "content_filter"}


async def ask_once(
    step: Step, values: Row, doors: Doors, *, draw: int = 0, seed_id: str = ""
) -> Reading:
    """Renders a step over a sample's values, asks, and parses the reply.

    Raises:
        TeacherError: no reply came.
        Stopped, BudgetReached: the run is over.
    """
    door = doors.door(step.role)
    teacher = door.teacher
    request = step.request(
        values,
        model=teacher.model,
        family=teacher.family,
        draw=draw,
        seed_id=seed_id,
    )
    key, completion = await door.ask(request)
    meta: Fields = {
        "step": step.name,
        "teacher": completion.model or teacher.model,
        "draw": draw,
        "key": key,
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
    }
    if (
        completion.logprobs is not None
        and (mean := mean_logprob(completion.logprobs)) is not None
    ):
        meta["logprob"] = mean
    try:
        if completion.refusal and not completion.text:
            raise Unreadable("refusal", completion.refusal[:80])
        if completion.called and not completion.text:
            raise Unreadable(
                "tool_call",
                f"it calls {completion.called[:80]} and says nothing",
            )
        reply = Reply(
            completion.text,
            completion.reasoning or "",
            whole=completion.finish_reason not in _ENDED,
        )
        fields = step.parser_for(values).parse_reply(reply, values)
        if reply.mended:
            meta["mended"] = f"{step.name}: {', '.join(reply.mended)}"
    except Unreadable as reason:
        ended = _ENDED.get(completion.finish_reason)
        return Reading(
            {},
            completion,
            meta,
            Unreadable(ended, f"{reason.reason}: {reason.detail}")
            if ended
            else reason,
        )
    return Reading(fields, completion, meta)


def mean_logprob(tokens: Any) -> float | None:
    """Mean natural log-probability a token, None where a provider sends none that can be read.

    >>> mean_logprob(
    ...     [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}, {"token": "c"}]
    ... )
    -1.5
    >>> mean_logprob("x")
    """
    listed = tokens if isinstance(tokens, list) else []
    logprobs = [
        token.get("logprob") for token in listed if isinstance(token, dict)
    ]
    numbers = [
        float(one)
        for one in logprobs
        if isinstance(one, int | float)
        and -_MOST_LOGPROB <= one <= _MOST_LOGPROB
    ]
    return round(sum(numbers) / len(numbers), 6) if numbers else None
