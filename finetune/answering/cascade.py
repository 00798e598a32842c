"""A teacher behind a student: it is asked where the student is not sure of its own reply."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.answering.inference import Inference
from finetune.core.rows import JsonObject
from finetune.data.prompts import Prompt, messages_of
from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.door import Door
from synth.calls.journal import Journal
from synth.calls.price import FREE, Price, price_of
from synth.core.errors import (
    BudgetReached,
    Stopped,
    TeacherError,
    TeacherRefused,
    WrongUse,
)
from synth.core.records import Completion, Request, Sampling
from synth.teachers.base import Settings, open_teacher

# Calls in flight.
_SIDE_BY_SIDE = 16
# Seconds that a teacher at its rate limit is waited for.
_PATIENCE = 30.0


class _Capped(TeacherRefused):
    """No call of the teacher is left."""

    def __init__(self) -> None:
        super().__init__("not_sent", "no call is left (--cascade-calls)")


@dataclass
class Counts:
    """What became of a student's replies.

    Attributes:
        sure: kept, since the student was sure.
        asked: calls of the teacher that were begun, those that failed too.
        reused: replies of the teacher that its journal holds already.
        failed: no reply came, and the student's was kept.
        capped: the student's reply was kept, since no call was left.
    """

    sure: int = 0
    asked: int = 0
    reused: int = 0
    failed: int = 0
    capped: int = 0


@dataclass(frozen=True)
class Asked:
    """A reply of a student, and how sure it is of it, 0 to 1."""

    prompt: Prompt
    reply: str
    sure: float


class Cascade:
    """Asks the teacher about replies of which a student is less sure than `cascade_below`.

    Args:
        how: the teacher, the threshold and the caps.
        max_tokens: of a reply of the teacher.
        folder: for its replies, which are asked for once; None keeps them for as long as it lives.

    Raises:
        WrongUse: no such teacher, no key, or a budget without a price.
    """

    def __init__(
        self, how: Inference, max_tokens: int, folder: Path | None = None
    ) -> None:
        name = str(how.cascade)
        settings = Settings(
            api_base=how.cascade_api_base,
            api_key_env=how.cascade_key_env,
            role="cascade",
        )
        price = _price(how, name)
        self.how = how
        self.max_tokens = max_tokens
        self.counts = Counts()
        self.teacher = open_teacher(name, settings)
        self.journal = Journal(folder)
        spent = self.journal.totals.usd
        self.door = Door(
            self.teacher,
            self.journal,
            gate=Gate(_SIDE_BY_SIDE),
            budget=Budget(how.cascade_budget, spent),
            price=price,
            attempts=2,
            patience=_PATIENCE,
            permit=self._permit,
        )

    async def said(
        self, asked: Asked, max_tokens: int | None = None
    ) -> Completion | None:
        """What the teacher says in the place of a student's reply; None where that is kept.

        Args:
            asked: the student's reply.
            max_tokens: of the teacher's; None for as many as there may be.
        """
        if asked.sure >= self.how.cascade_below:
            self.counts.sure += 1
            return None
        request = self._request(asked.prompt, max_tokens)
        if self.journal.get(request.key()) is not None:
            self.counts.reused += 1
        try:
            _, completion = await self.door.ask(request)
        except (BudgetReached, _Capped):
            self.counts.capped += 1
        except (TeacherError, Stopped) as error:
            self.counts.failed += 1
            self.teacher.say(f"the student's own reply is kept: {error}")
        else:
            return completion
        return None

    async def _permit(self) -> None:
        """Counts a call that is about to go out, a second one for the same reply too.

        Raises:
            _Capped: no call is left.
        """
        if self.counts.asked >= self.how.cascade_calls:
            raise _Capped
        self.counts.asked += 1

    def _request(self, prompt: Prompt, max_tokens: int | None) -> Request:
        messages = messages_of(prompt)
        most = min(max_tokens or self.max_tokens, self.max_tokens)
        return Request(
            model=self.teacher.model,
            messages=tuple(messages),
            family=self.teacher.family,
            sampling=Sampling(temperature=0.0, max_tokens=most),
            step="cascade",
        )

    def told(self) -> JsonObject:
        """The counts, and what was paid: for a record."""
        return {**vars(self.counts), "usd": round(self.door.stats.usd, 6)}

    async def close(self) -> None:
        """Ends the teacher and its journal."""
        await self.teacher.close()
        await self.journal.close()


def _price(how: Inference, name: str) -> Price:
    """What a call costs.

    Raises:
        WrongUse: there is a budget, and nobody knows.
    """
    if how.cascade_budget is None:
        return FREE
    price = price_of(name, how.cascade_price)
    if price is None:
        raise WrongUse(
            f"--cascade-budget {how.cascade_budget:g}",
            f"no known price for {name}",
            "a price, to keep the cap",
            "Give --cascade-price IN,OUT in dollars per million tokens.",
        )
    return price
