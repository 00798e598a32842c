"""One call, read: the fields of a reply, or why there are none."""

from __future__ import annotations

from typing import Any, NamedTuple

from synth.calls.door import Door
from synth.core.errors import Unreadable
from synth.core.records import Completion, Fields, Request, Row
from synth.packs.step import Step
from synth.parsers.base import Reply
from synth.replies.calls import written_out
from synth.replies.thoughts import split_thoughts

# A larger number, an infinite one and NaN say nothing.
_MOST_LOGPROB = 1e6


class Reading(NamedTuple):
    """What came of a question: the parsed fields, or why they could not be read.

    Attributes:
        asked: replies to the question, those included that could not be read.
    """

    fields: Row
    completion: Completion
    meta: Row
    unreadable: Unreadable | None = None
    asked: int = 1


# Why a reply could not be read, where the provider itself says that it is not whole.
ENDED = {"length": "cut_off", "content_filter": "content_filter"}


# A talk goes no further behind a reply that is not whole.
CUT = frozenset(ENDED)


async def asked(
    step: Step, values: Row, door: Door, request: Request
) -> Reading:
    """One call, read."""
    key, completion = await door.ask(request)
    if step.tooling and not completion.calls:
        answer = split_thoughts(completion.text).answer
        said, calls = written_out(answer, step.tooling.schemas)
        if calls:
            completion = completion._replace(text=said, calls=calls)
    meta: Fields = {
        "step": step.name,
        "teacher": completion.model or door.teacher.model,
        "draw": request.draw,
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
        fields = _read(step, values, completion, meta)
    except Unreadable as reason:
        ended = ENDED.get(completion.finish_reason)
        detail = f"{reason.reason}: {reason.detail}"
        unreadable = Unreadable(ended, detail) if ended else reason
        return Reading({}, completion, meta, unreadable)
    return Reading(fields, completion, meta)


def _read(
    step: Step, values: Row, completion: Completion, meta: Fields
) -> Fields:
    """The fields of a reply; what its parser mended stands in `meta`.

    Raises:
        Unreadable: there are none.
    """
    if completion.refusal and not completion.text:
        raise Unreadable("refusal", completion.refusal[:80])
    if completion.calls and (step.tooling or not completion.text):
        called = ", ".join(call.name for call in completion.calls)[:80]
        if step.tooling:
            raise Unreadable("too_many_calls", f"it still calls {called}")
        raise Unreadable("tool_call", f"it calls {called} and says nothing")
    reply = Reply(
        completion.text,
        completion.reasoning or "",
        whole=completion.finish_reason not in ENDED,
    )
    fields = step.parser_for(values).parse_reply(reply, values)
    if step.keeps:
        fields[step.keeps] = reply.thoughts
    if reply.mended:
        meta["mended"] = f"{step.name}: {', '.join(reply.mended)}"
    return fields


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
