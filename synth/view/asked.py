"""What a row's call was: its messages, rendered again and checked by the key, and its raw reply."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from synth.core.errors import PotstillError
from synth.core.records import Completion, Fields, Request, Row, in_text
from synth.exports.base import pack_of
from synth.packs.pack import Pack
from synth.packs.step import Step
from synth.replies.thoughts import split_thoughts
from synth.runs.ownership import read_note
from synth.runs.publisher import RunFolder
from synth.teachers.wire.replies import load_reply, read_chat
from synth.view.lines import Stored
from synth.view.rows import RunRows

# Seconds since 1970 that a reply may say it was made at: 2001 to 2286.
_EPOCHS = (1e9, 1e10)


class Asked(NamedTuple):
    """The messages of a call.

    Attributes:
        messages: role and text of each.
        exact: whether the request that they make has the key of the reply: they are the very
            messages.
        note: why there are none, or why they may differ; empty where they are exact.
    """

    messages: list[tuple[str, str]]
    exact: bool
    note: str


class Answered(NamedTuple):
    """A reply as the journal holds it, and as the reader of replies reads it.

    Attributes:
        raw: the JSON as it came; broken UTF-8 shows as U+FFFD.
        said, thought: the text, and what the model thought before it.
        usd: dollars.
        tokens: in, out, cached, reasoning.
        made: when, as the provider says; empty where it says nothing.
        fault: why the reply cannot be read; empty where it can.
    """

    raw: str
    said: str
    thought: str
    usd: float
    tokens: tuple[int, int, int, int]
    made: str
    fault: str


class Packs:
    """The pack of a run, from its own copy, loaded once.

    Args:
        rows: the run's.
    """

    def __init__(self, rows: RunRows) -> None:
        self.pack: Pack | None = None
        self.why = "the run has published nothing"
        self._names: list[str] = []
        if rows.homes:
            try:
                self.pack = pack_of(RunFolder(rows.homes[0]))
            except (PotstillError, OSError) as error:
                self.why = f"the run's copy of its pack does not load: {error}"
        for home in rows.homes:
            teachers = rows.run.get("settings", {}).get("teachers", {})
            note = read_note(home)
            self._names += [str(name) for name in teachers.values()]
            self._names += list(note.endpoints) if note else []

    def produced(self) -> set[str]:
        """Fields that the steps add to a seed."""
        steps = self.pack.steps if self.pack else ()
        return {name for step in steps for name in step.produces()}

    def asked(self, row: Row) -> Asked:
        """The messages behind the reply of a row."""
        meta = row.get("meta") or {}
        step = self._step(str(meta.get("step") or ""))
        if self.pack is None or step is None:
            why = self.why if self.pack is None else "no step asked for it"
            return Asked(
                [],
                exact=False,
                note=why,
            )
        try:
            return self._checked(
                step,
                row,
                meta,
            )
        except (PotstillError, TypeError, ValueError, KeyError) as error:
            note = f"the step's templates do not render over this row: {error}"
            return Asked(
                [],
                exact=False,
                note=note,
            )

    def _step(self, name: str) -> Step | None:
        steps = self.pack.steps if self.pack else ()
        return next((step for step in steps if step.name == name), None)

    def _checked(
        self,
        step: Step,
        row: Row,
        meta: Row,
    ) -> Asked:
        key = meta.get("key")
        requests = list(
            self._requests(
                step,
                row,
                int(meta.get("draw") or 0),
            )
        )
        for request in requests:
            if request.key() == key:
                return Asked(
                    _texts(request),
                    exact=True,
                    note="",
                )
        note = (
            "rendered again from the fields of the row; the key of the reply is another one, so "
            "the teacher may have been asked in other words"
        )
        return Asked(
            _texts(requests[0]),
            exact=False,
            note=note,
        )

    def _requests(
        self,
        step: Step,
        row: Row,
        draw: int,
    ) -> Iterator[Request]:
        """The request under each name that a teacher of the run goes by."""
        assert self.pack is not None  # noqa: S101 - the caller checked
        fields = {name: row[name] for name in row if name != "meta"}
        values = self.pack.values(fields)
        values = step.first_of(values) if step.each else dict(values)
        for name in dict.fromkeys(
            [
                *self._names,
                "/",
            ]
        ):
            family, _, model = name.partition("/")
            yield step.request(
                values,
                model=model,
                family=family,
                draw=draw,
                seed_id=str(row.get("id")),
            )


def _texts(request: Request) -> list[tuple[str, str]]:
    return [
        (str(message.get("role")), in_text(message.get("content")))
        for message in request.messages
    ]


def reply_of(rows: RunRows, meta: Row) -> Answered | None:
    """What came for a row, by the key in its `meta`; None where no journal of the run holds it."""
    key = meta.get("key")
    stored = rows.reply(str(key)) if key else None
    return answered(stored) if stored else None


def answered(stored: Stored) -> Answered:
    """A stored reply, read."""
    raw = stored.raw.decode("utf-8", "replace")
    value: Fields = {}
    fault = ""
    completion = Completion("")
    try:
        value = load_reply(stored.raw)[0]
        completion = read_chat(value)
    except PotstillError as error:
        fault = str(error)
    split = split_thoughts(completion.text)
    return Answered(
        raw,
        completion.text or completion.refusal,
        completion.reasoning or split.thoughts,
        stored.usd,
        stored.tokens,
        _made(value.get("created")),
        fault,
    )


def _made(created: Any) -> str:
    """When a reply was made, by the provider's own word."""
    is_time = type(created) in (int, float)
    if not is_time or not _EPOCHS[0] <= created <= _EPOCHS[1]:
        return ""
    return datetime.fromtimestamp(created, UTC).strftime(
        "%Y-%m-%d %H:%M:%S UTC"
    )
