"""Many servers of one model behind one door.

A call goes to the server that has the least to do by its weight, so that each gets what it works
off: a server that is twice as fast takes twice as many. All draws of a sample go to one server,
which has their prompt in its cache. A server that cannot be reached is left alone for a while, and
its calls are asked elsewhere; to the door they are one call.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace

from synth.calls.admission import Gate
from synth.calls.budget import UNKNOWN_FATE
from synth.calls.call_options import CallOptions
from synth.calls.endpoints import OPTION, is_named, read_endpoints
from synth.calls.speed import CALLS, MEMORY, Speed, usual_rate
from synth.calls.token_counter import rough_prompt_tokens
from synth.core.errors import (
    Stopped,
    TeacherBusy,
    TeacherError,
    TeacherRefused,
    WrongUse,
)
from synth.core.records import Request
from synth.teachers.base import (
    Reply,
    Settings,
    Teacher,
    address,
    open_teacher,
)
from synth.teachers.openai_chat import OpenaiChat

# Seconds after which a file or folder of endpoints is read again; sooner where a server is gone,
# which may be back elsewhere. 16 files take a millisecond to read.
READ_AGAIN, READ_SOON = 2.0, 0.1
# Seconds that a server is left alone after a call could not reach it; twice as long each time.
FIRST_ABSENCE, LONGEST_ABSENCE = 0.5, 30.0
# Seconds that calls wait for a server to come back before they fail.
MOST_ABSENT = 60.0
# Faults of a server that another one need not have.
ELSEWHERE = re.compile(
    r"connection|timeout|broken_reply|invalid_reply|empty_choices|http_(5\d\d|200)"
)
# What a server says of a request, of which one other is asked: it may be told to take more.
OF_SETTINGS = ("bad_request", "context_length")
# Faults of a server in a row, without a reply between them, after which it is left alone.
MOST_FAULTS = 3
# Samples whose server is remembered.
SAMPLES = 10_000
# The server of a sample gets its draws as long as it has at most so many times what the one with
# the least has, and so many calls on top.
LOYALTY, DRAWS = 1.5, 16
# Tokens of a reply until some are known.
REPLY_TOKENS = 256.0
# Seconds after which the weights are computed again.
WEIGH_AGAIN = 0.25
# A server whose oldest call takes so many times as long as calls take elsewhere gets no more.
STUCK = 10.0


class Member:
    """One server.

    Attributes:
        outstanding: tokens that it is expected to read and write for the calls it has.
        calls: when each call began, by number.
        absent_until: no call goes there before; a moment of `time.monotonic`.
        is_known: whether it has been asked what it takes, since it was away.
        slots: calls that it works on at once; None where it does not say.
        speed: tokens a second that it works off.
        weight: what it is given beside the others; see `_weigh` of the fleet.
        refused: what it said when it refused all calls, such as a key or the model; None where it
            has given a reply since.
    """

    def __init__(
        self,
        url: str,
        teacher: OpenaiChat,
        gate: Gate,
    ) -> None:
        self.url = url
        self.teacher = teacher
        self.gate = gate
        self.outstanding = 0.0
        self.calls: dict[int, float] = {}
        self.absent_until = 0.0
        self.is_known = False
        self.slots: int | None = None
        self.looking: asyncio.Task[None] | None = None
        self.speed = Speed(time.monotonic())
        self.weight = 1.0
        self.refused: Stopped | None = None
        self._faults = 0
        self._absence = FIRST_ABSENCE
        self._missed_at = 0.0
        self._number = 0

    def begin(self, tokens: float) -> int:
        """Books a call; its number."""
        now = time.monotonic()
        self.look(now)
        self._number += 1
        self.calls[self._number] = now
        self.outstanding += tokens
        return self._number

    def end(self, number: int, tokens: float) -> float:
        """Takes a call out; the seconds that it took."""
        left = self.outstanding - tokens
        self.outstanding = max(0.0, left)
        now = time.monotonic()
        self.look(now)
        return now - self.calls.pop(number)

    def look(self, now: float) -> None:
        """Books the time since the last look as worked or idle."""
        self.speed.passed(now, busy=bool(self.calls))

    def load(self, more: float = 0.0) -> float:
        """What it has to do by its weight, with so many tokens more."""
        return (self.outstanding + more) / self.weight

    def came(self, tokens: float) -> None:
        """A reply came, of so many tokens with its prompt: the server is there."""
        self.speed.did(tokens)
        self.refused = None
        self._faults = 0
        self._absence = FIRST_ABSENCE
        self.absent_until = 0.0

    def missed(self, sent: float) -> None:
        """A call that went out then could not reach it; calls that fail together count once."""
        if sent < self._missed_at:
            return
        self.is_known = False
        self._missed_at = time.monotonic()
        self.absent_until = self._missed_at + self._absence
        longer = 2 * self._absence
        self._absence = min(longer, LONGEST_ABSENCE)

    def faulted(self, sent: float) -> None:
        """A call that went out then brought no reply that can be read; after some of them in a row
        the server counts as one that could not be reached.
        """
        self._faults += 1
        if self._faults >= MOST_FAULTS:
            self.missed(sent)

    def bar(self, end: Stopped) -> None:
        """It refuses all calls: it is left alone for as long as any server is, and tried again."""
        self.refused = end
        self.absent_until = time.monotonic() + LONGEST_ABSENCE

    def is_full(self) -> bool:
        """Whether it works on as many calls as it can."""
        return self.slots is not None and self.gate.is_full()

    async def look_at(self, most: int, *, by_slots: bool) -> None:
        """Asks it what it takes."""
        self.teacher.forget_capacity()
        try:
            slots = (await self.teacher.capacity()).slots
        finally:
            self.is_known = True
        if slots is not None and by_slots:
            self.slots = slots
            self.gate.bound(min(slots, most))

    def oldest(self, now: float) -> float:
        """Seconds of the oldest call; 0 without one."""
        first = next(iter(self.calls.values()), now)
        return now - first


class Fleet(Teacher):
    """One model at many endpoints of OpenAI's protocol.

    Args:
        model: the name that all of them serve it under.
        settings: `endpoints` says where: see `read_endpoints`. A file or a folder is read again
            every few seconds, so servers may come and go. The rest holds for each endpoint.
        most: calls in flight at most at one endpoint.
        counted: calls whose fate is unknown may have been billed: the door counts them, and asks
            again itself.
        by_slots: a server gets no more calls than it says that it works on at once; the others
            wait for the first that is free.

    Raises:
        WrongUse: an endpoint that is none; a list in the command line that names none. A file or
            folder may be empty at first: its servers are waited for.
    """

    family = "openai"

    def __init__(
        self,
        model: str,
        settings: Settings,
        most: int,
        *,
        counted: bool = False,
        by_slots: bool = False,
    ) -> None:
        super().__init__(model, settings)
        self._settings = settings
        self._given = settings.endpoints or ""
        self._most = most
        self._counted = counted
        self._by_slots = by_slots
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._members: dict[str, Member] = {}
        self._gone: list[Member] = []
        self._of_sample: OrderedDict[str, str] = OrderedDict()
        self._read_at = 0.0
        self._weighed_at = 0.0
        self._ended = False
        self._named: str | None = None
        self._reply_tokens = REPLY_TOKENS
        self._seconds = 0.0
        self._is_list = is_named(self._given)
        urls = read_endpoints(self._given, self.say)
        if self._is_list and not urls:
            todo = "For example --endpoints http://gpu1:8000/v1,http://gpu2:8000/v1."
            raise WrongUse(
                OPTION,
                repr(self._given),
                "URLs",
                todo,
            )
        self._take(urls)

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take, at any endpoint."""
        notes: dict[str, str] = {}
        for member in (*self._members.values(), *self._gone):
            notes.update(member.teacher.adapted)
        return notes

    def _take(self, urls: list[str]) -> None:
        """From now on these are the endpoints; calls under way elsewhere end as they may."""
        self._read_at = time.monotonic()
        for url in self._members.keys() - set(urls):
            self._gone.append(self._members.pop(url))
        for url in urls:
            if url not in self._members:
                self._members[url] = self._member(url)

    def _member(self, url: str) -> Member:
        for member in self._gone:
            if member.url == url:
                self._gone.remove(member)
                return member
        own = replace(
            self._settings,
            api_base=url,
            endpoints=None,
        )
        teacher = OpenaiChat(self.model, own)
        gate = Gate(self._most, start=self._most)
        return Member(url, teacher, gate)

    def _look(self) -> None:
        """Reads a file or folder again where it is time."""
        now = time.monotonic()
        since = now - self._read_at
        if self._is_list or self._ended or since < READ_SOON:
            return
        if since < READ_AGAIN and not self._misses(now):
            return
        self._take(self._readable())

    def _readable(self) -> list[str]:
        """What is listed now; what is no URL is said once and passed over."""
        if is_named(self._given):
            # File or folder is gone: what was read before stays.
            return list(self._members)
        try:
            return read_endpoints(self._given, self.say)
        except WrongUse as error:
            self.say(f"passed over: {error}")
            return []

    def _misses(self, now: float) -> bool:
        """Whether an endpoint could not be reached."""
        members = self._members.values()
        return any(member.absent_until > now for member in members)

    async def ask(self, request: Request) -> Reply:
        """One reply, of whichever endpoint gives it.

        Raises:
            TeacherBusy: no endpoint is there, or each failed.
            TeacherRefused: two endpoints say so of the request, or the only one.
            Stopped: all endpoints refuse all requests.
        """
        tokens = self._expected(request)
        failed: set[str] = set()
        while True:
            member = await self._present(
                request,
                tokens,
                failed,
            )
            try:
                return await self._asked(member, request, tokens)
            except (TeacherError, Stopped) as error:
                failed.add(member.url)
                if not self._other_may(error, failed):
                    raise

    def _other_may(
        self, error: TeacherError | Stopped, failed: set[str]
    ) -> bool:
        """Whether a call that failed so, at these endpoints, is asked elsewhere."""
        if self._ended or failed >= self._members.keys():
            return False
        if isinstance(error, Stopped):
            # Each of the others may have said so to other calls.
            return any(not m.refused for m in self._members.values())
        if isinstance(error, TeacherRefused):
            return error.kind in OF_SETTINGS and len(failed) == 1
        if self._counted and error.kind in UNKNOWN_FATE:
            return False
        is_limited = isinstance(error, TeacherBusy) and error.limited
        return is_limited or bool(ELSEWHERE.fullmatch(error.kind))

    async def _asked(
        self, member: Member, request: Request, tokens: float
    ) -> Reply:
        number = member.begin(tokens)
        try:
            sent = await member.gate.enter(tokens)
            try:
                reply = await member.teacher.ask(request)
            except BaseException as error:
                member.gate.failed(
                    error,
                    sent,
                    tokens,
                )
                self._of_sample.pop(_sample(request), None)
                self._book(member, error, sent)
                raise
            completion = reply.completion
            used = completion.prompt_tokens
            used += completion.completion_tokens
            member.gate.succeeded(
                sent,
                reply.limits,
                used,
                tokens,
            )
            member.came(used or tokens)
            self._compare(member, completion.model)
        finally:
            seconds = member.end(number, tokens)
            self._wake()
        self._learn(seconds, completion.completion_tokens)
        return reply

    def _book(self, member: Member, error: BaseException, sent: float) -> None:
        """What a call that failed says of its server."""
        if isinstance(error, Stopped):
            member.bar(error)
            self.say(f"{member.url} is passed over: {error}")
        elif not isinstance(error, TeacherBusy) or error.limited:
            return
        elif _is_away(error):
            member.missed(sent)
        elif ELSEWHERE.fullmatch(error.kind) and not error.at_once:
            member.faulted(sent)

    def _compare(self, member: Member, model: str) -> None:
        """Says where one server names another model in its replies than the first one did."""
        if self._named is None:
            self._named = model
        elif model != self._named:
            self.say(
                f"{member.url} answers as {model!r}, another server of {OPTION} as "
                f"{self._named!r}: all should serve the same weights"
            )

    def _learn(self, seconds: float, reply_tokens: int) -> None:
        """What calls take, as means over some hundred of them."""
        off = seconds - self._seconds
        self._seconds += off / 100
        if reply_tokens:
            too_few = reply_tokens - self._reply_tokens
            self._reply_tokens += too_few / 100

    def _expected(self, request: Request) -> float:
        """Tokens of a call: its text at four bytes a token, and the mean of replies so far."""
        return rough_prompt_tokens(request) + self._reply_tokens

    async def _present(
        self, request: Request, tokens: float, failed: set[str]
    ) -> Member:
        """The endpoint for a call, which waits until one is there.

        Raises:
            TeacherBusy: none was for a minute, or the run ends.
        """
        latest = time.monotonic() + MOST_ABSENT
        while True:
            self._look()
            member = self._choose(request, tokens, failed)
            if member is not None:
                return member
            if self._ended:
                raise TeacherBusy("interrupted")
            now = time.monotonic()
            if any(self._there(failed, now)):
                # All are full.
                latest = now + MOST_ABSENT
            if now > latest:
                said = f"no endpoint of {OPTION} {self._given} answers"
                raise TeacherBusy("connection", said)
            await self._turn()

    async def _turn(self) -> None:
        """Waits until a call has ended or a server is known, but never for long."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=FIRST_ABSENCE / 2)
        finally:
            if not waiter.done():
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        """The first of those who wait looks again."""
        if self._waiters:
            self._waiters.popleft().set_result(None)

    def _look_at(self, member: Member) -> None:
        """Begins to ask a server what it takes."""
        if member.looking is None or member.looking.done():
            look = member.look_at(self._most, by_slots=self._by_slots)
            member.looking = asyncio.ensure_future(look)
            member.looking.add_done_callback(self._known)

    def _known(self, _: asyncio.Task[None]) -> None:
        """All who wait look again."""
        while self._waiters:
            self._wake()

    def _choose(
        self, request: Request, tokens: float, failed: set[str]
    ) -> Member | None:
        """The endpoint for a call; None where none is there."""
        quick = self._quick(failed)
        if not quick:
            return None
        self._weigh(time.monotonic())
        best = min(quick, key=lambda member: _order(member, tokens))
        sample = _sample(request)
        home = self._home(sample)
        if home is not None and home in quick:
            # So many more at a server of weight 1, which is the usual one.
            most = LOYALTY * best.load() + DRAWS * tokens
            if home.load() <= most:
                best = home
        self._remember(sample, best)
        return best

    def _weigh(self, now: float) -> None:
        """Weights by the speed of each server, which stand as the square root of it.

        Where all have more than they can do at once, any weights keep them busy, and the run ends
        with the last calls of the slowest: the fewer it holds, the better. By its speed alone it
        would hold too few to be busy, would be slower for it, and would get fewer yet. The root
        has a fixed point: a server that takes a call in half the time holds twice as many.
        """
        if now - self._weighed_at < WEIGH_AGAIN:
            return
        self._weighed_at = now
        members = self._members.values()
        memory = max(MEMORY, CALLS * self._seconds)
        for member in members:
            member.speed.memory = memory
            member.look(now)
        usual = usual_rate(member.speed for member in members)
        trust = self._seconds or 1.0
        for member in members:
            rate = member.speed.rate(usual, trust)
            member.weight = math.sqrt(rate / usual)

    def _quick(self, failed: set[str]) -> list[Member]:
        """Endpoints that take calls; where all are slow or closed, all that have a slot free."""
        now = time.monotonic()
        free = []
        quick = []
        for member in self._there(failed, now):
            if not member.is_known:
                self._look_at(member)
            elif not member.is_full():
                free.append(member)
                if member.gate.is_open() and not self._stuck(member, now):
                    quick.append(member)
        return quick or free

    def _there(self, failed: set[str], now: float) -> Iterator[Member]:
        """Endpoints that may be asked."""
        for url, member in self._members.items():
            if url not in failed and member.absent_until <= now:
                yield member

    def _home(self, sample: str) -> Member | None:
        """Where a sample was asked before."""
        url = self._of_sample.get(sample, "")
        return self._members.get(url)

    def _remember(self, sample: str, member: Member) -> None:
        self._of_sample[sample] = member.url
        self._of_sample.move_to_end(sample)
        if len(self._of_sample) > SAMPLES:
            self._of_sample.popitem(last=False)

    def _stuck(self, member: Member, now: float) -> bool:
        """Whether a call waits there beyond all measure."""
        usual = max(1.0, self._seconds)
        return member.oldest(now) > STUCK * usual

    def hurry(self) -> None:
        """Nobody waits for an endpoint any more, nor at its gate."""
        self._ended = True
        end = Stopped("ended", "the run ends; nothing more is asked")
        for member in (*self._members.values(), *self._gone):
            member.gate.shut(end)

    async def close(self) -> None:
        """Closes the connections to all of them."""
        for member in (*self._members.values(), *self._gone):
            if member.looking is not None:
                member.looking.cancel()
            await member.teacher.close()


def open_one_or_many(
    name: str, settings: Settings, options: CallOptions
) -> Teacher:
    """The teacher PROVIDER/MODEL at one endpoint, or at all those that its settings name."""
    if settings.endpoints is None:
        return open_teacher(name, settings)
    return Fleet(
        address(name)[1],
        settings,
        options.at_once,
        counted=options.budget is not None,
        by_slots=options.concurrency is None,
    )


def _is_away(error: TeacherBusy) -> bool:
    """Whether a server could not be reached or hangs; a connection that it had closed says
    nothing.
    """
    return error.kind in {"connection", "timeout"} and not error.at_once


def _sample(request: Request) -> str:
    return f"{request.step}/{request.seed_id}"


def _order(member: Member, tokens: float) -> tuple[float, float]:
    """What a server has to do by its weight; of those that have nothing, the fastest is first."""
    return member.load(), member.load(tokens)
