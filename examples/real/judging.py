"""Critics asked about judged rows: one record a row, kept in a file, so that a study goes on where
it was ended and takes more rows later.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.door import Door, Doors, Stats
from synth.calls.journal import Journal
from synth.core.aio import run_async
from synth.core.errors import WrongUse
from synth.core.records import Verdict
from synth.filters.base_asking import AskingFilter
from synth.filters.process_critic import number_said
from synth.teachers.base import Settings, open_teacher

Row = Mapping[str, Any]
# Seconds for one reply: a prompt of a thousand tokens may take a minute here.
TIMEOUT = 1800.0
# Of llama.cpp's own paths.
_ROOT = "/v1"
# Rows that are judged together: more of them would wait for each other on two cores.
SIDE_BY_SIDE = 2
_KEPT = ("critique", "orders", "verdict", "first_wrong", "choice")


class Said(NamedTuple):
    """What a verdict says of its row.

    Attributes:
        good: None where the reply cannot be read, or says nothing of a single row.
        unread: whether the reply cannot be read.
    """

    good: bool | None
    unread: bool = False


Reader = Callable[[Row, Verdict], Said]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where critics are asked.

    Attributes:
        url: of the server, with `/v1`.
        teacher: the model's name in the table.
        context: tokens of prompt and reply.
        folder: for records and replies.
        side_by_side: rows that are judged together.
    """

    url: str
    teacher: str
    context: int
    folder: Path
    side_by_side: int = SIDE_BY_SIDE

    @property
    def model(self) -> str:
        """As filters name it."""
        return f"openai/{self.teacher}"


def word(field: str, *good: str) -> Reader:
    """Reads the word that a critic says: good where it is one of these."""

    def read(row: Row, verdict: Verdict) -> Said:
        del row
        if verdict.keep is None:
            return Said(None, unread=True)
        return Said(str(verdict.marks[field]).casefold() in good)

    return read


def step_number(row: Row, verdict: Verdict) -> Said:
    """Reads the number of the first wrong step: good where it is 0, and not read where the chain
    has no such step.
    """
    number = number_said(verdict.marks.get("first_wrong"))
    if number is None or number > len(row["steps"]):
        return Said(None, unread=True)
    return Said(number == 0)


def place(row: Row, verdict: Verdict) -> Said:
    """Reads which of the candidates is chosen."""
    number = number_said(verdict.marks.get("choice"))
    unread = number is None or not 1 <= number <= len(row["candidates"])
    return Said(None, unread=unread)


def kept(row: Row, verdict: Verdict) -> Said:
    """Takes the filter's own verdict."""
    del row
    return Said(verdict.keep, unread=verdict.keep is None)


def record_of(row: Row, verdict: Verdict, read: Reader) -> dict[str, Any]:
    """What is kept of a row and its verdict: labels, what was said, the score from 0 to 1.

    Raises:
        WrongUse: no reply came.
    """
    if verdict.reason == "critic_failed":
        raise WrongUse(
            f"row {row['id']}",
            f"a call that failed: {verdict.marks.get('failure')}",
            "a reply to every call",
            "See whether the server still runs, then start the study again.",
        )
    said = read(row, verdict)
    labels = (
        "id",
        "group",
        "right",
        "winner",
        "rights",
        "vote",
        "first_mistake",
    )
    found = {name: row[name] for name in labels if name in row}
    if "steps" in row:
        found["steps"] = len(row["steps"])
    if "winner" in row:
        found["longer"] = len(row["first"]) > len(row["second"])
    marks = {
        name: verdict.marks[name] for name in _KEPT if name in verdict.marks
    }
    score = None if said.unread else verdict.marks.get("score")
    reply = verdict.marks.get("reply")
    return {
        **found,
        **marks,
        "reason": verdict.reason,
        "good": said.good,
        "unread": said.unread,
        "score": score,
        "reply": reply,
    }


def judged(
    bench: Bench,
    name: str,
    part: AskingFilter,
    rows: Sequence[Row],
    read: Reader,
) -> list[dict[str, Any]]:
    """A record of each row, in order; rows that the file of records holds are not asked again.
    Rows that are too long for the server have `too_long` in place of a verdict.
    """
    folder = bench.folder / bench.teacher / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "records.jsonl"
    held = path.read_text("utf-8").splitlines() if path.is_file() else []
    records = {record["id"]: record for record in map(json.loads, held)}
    left = [row for row in rows if row["id"] not in records]
    with path.open("a", encoding="utf-8") as file:
        for record in _asked(bench, folder, part, left, read):
            records[record["id"]] = record
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
    return [records[row["id"]] for row in rows]


def _asked(
    bench: Bench,
    folder: Path,
    part: AskingFilter,
    rows: Sequence[Row],
    read: Reader,
) -> Iterator[dict[str, Any]]:
    fit = []
    for row in rows:
        if length(bench, part, row) > bench.context:
            yield {"id": row["id"], "too_long": True}
        else:
            fit.append(row)
    for start in range(0, len(fit), bench.side_by_side):
        some = fit[start : start + bench.side_by_side]
        began = time.monotonic()
        verdicts, stats = run_async(asked(bench, folder, part, some))
        seconds = (time.monotonic() - began) / len(some)
        calls, tokens_in, tokens_out = map(
            sum, zip(*stats.steps.values(), strict=True)
        )
        # Replies out of the journal took no time.
        cost = {
            "calls": calls / len(some),
            "tokens": (tokens_in + tokens_out) / len(some),
            "seconds": None if stats.reused else round(seconds, 2),
        }
        for row, verdict in zip(some, verdicts, strict=True):
            yield {**record_of(row, verdict, read), **cost}


async def asked(
    bench: Bench, folder: Path, part: AskingFilter, rows: Sequence[Row]
) -> tuple[list[Verdict], Stats]:
    """The verdicts of some rows, side by side, and what was asked for them."""
    settings = Settings(api_base=bench.url, api_key_env="", timeout=TIMEOUT)
    journal = Journal(folder)
    budget = Budget(None)
    door = Door(
        open_teacher(bench.model, settings),
        journal,
        gate=Gate(bench.side_by_side),
        budget=budget,
        patience=TIMEOUT,
    )
    doors = Doors({bench.model: door}, journal, budget)
    try:
        return await part.verdicts(rows, doors), door.stats
    finally:
        await doors.close()


def length(bench: Bench, part: AskingFilter, row: Row) -> int:
    """Tokens of a row's prompt and of the longest reply to it, by the server's own count."""
    step = part.step()
    request = step.request(
        part.values(row), model=bench.teacher, family="openai"
    )
    prompt = post(bench, "apply-template", {"messages": [*request.messages]})
    text = {"content": prompt["prompt"]}
    tokens = len(post(bench, "tokenize", text)["tokens"])
    return tokens + (step.sampling.max_tokens or 0)


def post(bench: Bench, path: str, body: Row) -> Any:
    """What the server answers at a path of its own."""
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{bench.url.removesuffix(_ROOT)}/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        return json.load(answer)
