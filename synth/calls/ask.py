"""One question of one sample: render -> ask -> parse. The pipeline and the critics both walk it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from synth.calls.door import Door, Doors
from synth.core.errors import Unreadable
from synth.core.records import Completion, Fields, Request, Row
from synth.packs.step import Said, Step
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


# A talk goes no further behind a reply that is not whole.
CUT = frozenset(_ENDED)
# Replies that another turn would not mend: they were refused, or are not whole.
_FINAL = frozenset({"refusal", "tool_call", *_ENDED.values()})
# The turn behind a reply that its parser does not read.
_REPAIR = (
    "That reply cannot be read: {why}. Give the whole reply again, in exactly the form that was "
    "asked for, and write nothing before or after it."
)


async def ask_once(
    step: Step,
    values: Row,
    doors: Doors,
    *,
    draw: int = 0,
    seed_id: str = "",
    said: Said = Said(),  # noqa: B008 - it has no state
) -> Reading:
    """Renders a step over a sample's values, asks, and parses the reply; where the step has
    `repairs`, a reply that cannot be read is shown to the teacher with the reason, and asked again.

    Raises:
        TeacherError: no reply came.
        Stopped, BudgetReached: the run is over.
    """
    door = doors.door(step.role)
    request = step.request(
        values,
        model=door.teacher.model,
        family=door.teacher.family,
        draw=draw,
        seed_id=seed_id,
        said=said,
    )
    reading = await _asked(step, values, door, request)
    repaired: list[str] = []
    while reading.unreadable and len(repaired) < step.repairs:
        if reading.unreadable.reason in _FINAL:
            break
        repaired.append(reading.unreadable.reason)
        request = _repair(step, values, request, reading)
        reading = await _asked(step, values, door, request)
    if not repaired:
        return reading
    again = f"{step.name}: asked again ({', '.join(repaired)})"
    before = reading.meta.get("mended")
    mended = f"{again}; {before}" if before else again
    return reading._replace(meta={**reading.meta, "mended": mended})


def _repair(
    step: Step, values: Row, request: Request, reading: Reading
) -> Request:
    """The request with the reply that could not be read, and why."""
    unreadable = reading.unreadable or Unreadable("unreadable")
    reasons = step.parser_for(values).reasons
    why = reasons.get(unreadable.reason) or unreadable.reason.replace("_", " ")
    if unreadable.reason == "misfit":
        why = f"{why} ({unreadable.detail})"
    turns = (
        {"role": "assistant", "content": reading.completion.text},
        {"role": "user", "content": _REPAIR.format(why=why)},
    )
    return replace(request, messages=(*request.messages, *turns))


async def _asked(
    step: Step, values: Row, door: Door, request: Request
) -> Reading:
    """One call, read."""
    key, completion = await door.ask(request)
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
        ended = _ENDED.get(completion.finish_reason)
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
