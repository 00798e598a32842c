"""Retries, twins, breakers, money: one request from key to journal."""

from __future__ import annotations

import asyncio

import pytest

from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.door import Door, Doors
from synth.calls.journal import Journal, records
from synth.core.errors import Stopped, TeacherBusy, TeacherRefused
from synth.core.records import Request, Sampling
from synth.teachers.base import Teacher, chat_reply


class Scripted(Teacher):
    """Answers with a list of errors, then with text."""

    model, family = "s", "test"

    def __init__(self, *errors, seconds=0.0):
        self.errors, self.calls, self.seconds = list(errors), 0, seconds

    async def ask(self, request):
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.errors:
            raise self.errors.pop(0)
        return chat_reply("fine", prompt_tokens=10, completion_tokens=10)


def make_door(teacher, **options):
    return Door(
        teacher,
        Journal(None),
        gate=options.pop("gate", Gate(8)),
        budget=options.pop("budget", Budget(None)),
        **options,
    )


def request(n=0):
    return Request(
        model="s",
        messages=({"role": "user", "content": str(n)},),
        sampling=Sampling(max_tokens=10),
    )


def test_temporary_errors_are_asked_again_and_limits_use_up_no_attempt():
    limited = [
        TeacherBusy("rate_limit", retry_after=0.01, limited=True)
        for _ in range(8)
    ]
    teacher = Scripted(
        TeacherBusy("http_500"), *limited, TeacherBusy("http_500")
    )
    door = make_door(teacher, attempts=3)
    door.patience = 60

    async def fast(_):
        return None

    assert asyncio.run(_quick(door, request()))[1].text == "fine"
    assert teacher.calls == 11
    failing = make_door(Scripted(*[TeacherBusy("http_500")] * 9), attempts=3)
    with pytest.raises(TeacherBusy):
        asyncio.run(_quick(failing, request()))
    assert failing.teacher.calls == 3
    assert failing.stats.failed == {"http_500": 1}


async def _quick(door, one):
    """Asks with waits cut to nothing."""
    door.gate.rest = lambda _seconds: asyncio.sleep(0)
    return await door.ask(one)


def test_final_errors_are_not_asked_again():
    door = make_door(Scripted(TeacherRefused("bad_request")))
    with pytest.raises(TeacherRefused):
        asyncio.run(door.ask(request()))
    assert door.teacher.calls == 1


def test_twins_in_flight_are_asked_once_and_share_errors():
    async def twins(teacher):
        door = make_door(teacher)
        return door, await asyncio.gather(
            *(door.ask(request()) for _ in range(5)), return_exceptions=True
        )

    door, answers = asyncio.run(twins(Scripted(seconds=0.01)))
    assert (door.teacher.calls, len(answers), door.stats.reused) == (1, 5, 4)
    door, answers = asyncio.run(
        twins(Scripted(TeacherRefused("policy"), seconds=0.01))
    )
    assert door.teacher.calls == 1
    assert all(isinstance(a, TeacherRefused) for a in answers)


def test_a_run_of_which_nothing_comes_back_is_stopped():
    async def many():
        door = make_door(
            Scripted(*[TeacherRefused("bad_request") for _ in range(100)])
        )
        errors = [await _outcome(door, n) for n in range(30)]
        return errors.index(Stopped)

    assert asyncio.run(many()) == 19


@pytest.mark.parametrize(
    ("kind", "todo"),
    [
        ("connection", "See that it runs"),
        ("not_simulated", "--teacher openai/MODEL"),
        ("not_rehearsed", "cases.yaml"),
        ("bad_request", "a model's name or a limit may be wrong"),
    ],
)
def test_a_run_of_which_nothing_comes_back_says_what_to_do(kind, todo):
    async def twentieth():
        door = make_door(Scripted(*[TeacherRefused(kind) for _ in range(20)]))
        for n in range(19):
            await _outcome(door, n)
        with pytest.raises(Stopped, match=todo) as caught:
            await door.ask(request(20))
        assert not str(caught.value).endswith(".")

    asyncio.run(twentieth())


async def _outcome(door, n):
    try:
        await door.ask(request(n))
    except Exception as error:  # noqa: BLE001 - its class is what is asked for
        return type(error)


@pytest.mark.parametrize("faults", [0, 2])
def test_a_slot_is_free_once_the_reply_before_is_written(tmp_path, faults):
    """Who is killed has no more calls to repeat than there are slots."""
    written = []

    class Looking(Scripted):
        async def ask(self, request):
            log = tmp_path / "replies.log"
            written.append(log.read_bytes().count(b"\n"))
            return await super().ask(request)

    async def three():
        errors = [TeacherBusy("http_500") for _ in range(faults)]
        door = make_door(Looking(*errors), gate=Gate(1))
        door.journal = Journal(tmp_path)
        door.gate.rest = lambda _seconds: asyncio.sleep(0)
        await asyncio.gather(*(door.ask(request(n)) for n in range(3)))
        await door.journal.close()

    asyncio.run(three())
    # the last call of each reply comes when all replies before it are there
    assert sorted(set(written)) == [0, 1, 2]
    assert len(written) == 3 + faults


class Brings(Teacher):
    """Brings replies that nobody asked for, more of them while the first are written."""

    model, family = "s", "test"

    def __init__(self, journal):
        self.journal, self.brought, self.number = journal, {}, 0
        self.bring()
        journal.on_disk, self.written = self.slow, journal.on_disk

    def bring(self):
        for _ in range(3):
            reply = chat_reply("late", prompt_tokens=1, completion_tokens=1)
            self.brought[f"{self.number:064x}"] = reply
            self.number += 1

    async def slow(self):
        if self.number < 12:
            self.bring()
        await self.written()

    async def ask(self, request):
        raise NotImplementedError

    def leftovers(self):
        return self.brought


def test_replies_that_come_while_others_are_kept_are_kept_too(tmp_path):
    async def kept():
        journal = Journal(tmp_path)
        teacher = Brings(journal)
        budget = Budget(None)
        door = Door(teacher, journal, gate=Gate(8), budget=budget)
        doors = Doors({"teacher": door}, journal, budget)
        await doors.close()
        return teacher

    assert asyncio.run(kept()).number == 12
    held = [key for key, _ in records(tmp_path)]
    assert sorted(held) == [f"{n:064x}" for n in range(12)]
