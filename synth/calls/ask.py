"""One question of one sample, up to its end: render -> ask -> parse. The pipeline and the critics
both walk it.

What may come behind a reply comes from one loop: the answers of tools that it calls, what is wrong
with it, or what a second speaker says to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synth.calls.door import Doors
from synth.calls.reading import CUT, ENDED, Reading, asked
from synth.core.errors import Unreadable
from synth.core.records import Call, Fields, Row
from synth.inputs.images import Picture
from synth.packs.step import NOTHING_SAID, Said, Step, Talk, Tooling
from synth.packs.tooling import Misuse, Tool, cut, shown, spelled
from synth.replies.thoughts import split_thoughts

# Replies that another turn would not mend: they were refused, are not whole, or call a tool.
FINAL = frozenset({"refusal", "tool_call", "too_many_calls", *ENDED.values()})
# The turn behind a reply that its parser does not read.
_REPAIR = (
    "That reply is not in the form that was asked for: {why}. Write the whole reply again, in "
    "exactly that form, and nothing before or after it."
)
_OTHER = {"user": "assistant", "assistant": "user"}


async def ask_once(
    step: Step,
    values: Row,
    doors: Doors,
    *,
    draw: int = 0,
    seed_id: str = "",
    fault: Callable[[Row], str] | None = None,
) -> Reading:
    """Renders a step over a sample's values, asks, and parses the reply.

    Calls of tools are answered, and the teacher is asked again. Where the step has `repairs`, a
    reply that cannot be read is shown to the teacher with the reason, and asked again. Where it has
    a talk, the second speaker is asked in turn. The turns, and the state of a simulated
    environment, are fields of what is returned.

    Args:
        step: the question.
        values: of the sample.
        doors: to the teachers.
        draw: number of the draw.
        seed_id: of the sample.
        fault: what is wrong with fields that the parser read, "" where nothing is; such a reply
            is one that cannot be read (`misfit`).

    Raises:
        TeacherError: no reply came.
        RowFault: a template does not render over the values.
        Stopped, BudgetReached: the run is over.
    """
    if step.speaks_once and fault is None:
        return await _spoken(step, values, doors, draw=draw, seed_id=seed_id)
    exchange = _Exchange(step, values, doors, draw, seed_id)
    while True:
        reading = await exchange.ask(step, exchange.heard())
        if fault and not reading.unreadable and (why := fault(reading.fields)):
            misfit = Unreadable("misfit", why)
            reading = reading._replace(fields={}, unreadable=misfit)
        ended = await exchange.behind(reading)
        if ended is not None:
            return exchange.whole(ended)


async def _spoken(
    speaker: Step,
    values: Row,
    doors: Doors,
    *,
    draw: int,
    seed_id: str,
    said: Said = NOTHING_SAID,
    pictures: Sequence[Picture] | None = None,
) -> Reading:
    """One call to whoever speaks next."""
    door = doors.door(speaker.role)
    request = speaker.request(
        values,
        model=door.teacher.model,
        family=door.teacher.family,
        draw=draw,
        seed_id=seed_id,
        said=said,
        pictures=pictures,
    )
    return await asked(speaker, values, door, request)


class _Exchange:
    """What has been said of one question.

    Attributes:
        turns: behind the opening ones; they stay in the sample.
        aside: a reply that could not be read, and what was said of it; it is forgotten once
            another one can be.
        number: replies of the step's teacher, those aside left out.
        calls: calls of tools, mistaken ones included.
        state: of the simulated environment.
    """

    def __init__(
        self,
        step: Step,
        values: Row,
        doors: Doors,
        draw: int,
        seed_id: str,
    ) -> None:
        self.step = step
        self.values = values
        self.doors = doors
        self.draw = draw
        self.seed_id = seed_id
        self.turns: list[Fields] = []
        self.aside: list[Fields] = []
        self.repaired: list[str] = []
        self.number = 0
        self.replies = 0
        self.calls = 0
        self.answered: list[Fields] = []
        self.state: dict[str, str] = {}
        self.pictures = step.pictures(values) if step.images else []
        if step.tooling and step.tooling.world:
            self.state = step.tooling.world.begin(values)

    async def ask(
        self, speaker: Step, said: Said, more: Row | None = None
    ) -> Reading:
        """One call to whoever speaks next, who may know `more` than the row says."""
        return await _spoken(
            speaker,
            {**self.values, **more} if more else self.values,
            self.doors,
            draw=self.draw,
            seed_id=self.seed_id,
            said=said,
            pictures=self.pictures if speaker is self.step else None,
        )

    def heard(self) -> Said:
        """What the step's teacher sees behind the opening."""
        messages = (*self.turns, *self.aside)
        if not messages:
            return NOTHING_SAID
        tooling = self.step.tooling
        calls_left = tooling is None or self.calls < tooling.most_calls
        return Said(messages, self.number, calls_left)

    async def behind(self, reading: Reading) -> Reading | None:
        """What the exchange ends with; None where the step's teacher is asked again, once what
        comes behind its reply is among the turns.
        """
        reading = self._noted(reading)
        step = self.step
        if step.tooling and reading.completion.calls:
            return await self._called(step.tooling, reading)
        if reading.unreadable:
            return self._repaired(reading, reading.unreadable)
        if step.talk or step.tooling:
            return await self._said(step.talk, reading)
        return reading

    def whole(self, reading: Reading) -> Reading:
        """The last reading with the images that were shown, with the turns, and with the state that
        calls have brought about.
        """
        step = self.step
        if not (step.images or step.talk or step.tooling):
            return reading
        fields = {**reading.fields, **step.seen(self.pictures)}
        if not (step.talk or step.tooling):
            return reading._replace(fields=fields)
        fields[step.name] = [*step.opening(self.values), *self.turns]
        if step.tooling and step.tooling.world:
            fields[step.tooling.world.into] = self.state
        return reading._replace(fields=fields)

    def _noted(self, reading: Reading) -> Reading:
        """A reading that says how often its question was asked again."""
        if not self.repaired:
            return reading
        again = f"{self.step.name}: asked again ({', '.join(self.repaired)})"
        before = reading.meta.get("mended")
        mended = f"{again}; {before}" if before else again
        return reading._replace(
            meta={**reading.meta, "mended": mended},
            asked=1 + len(self.repaired),
        )

    def _repaired(
        self, reading: Reading, unreadable: Unreadable
    ) -> Reading | None:
        """Says what is wrong with a reply that cannot be read, as often as the step allows."""
        is_final = unreadable.reason in FINAL
        if is_final or len(self.repaired) >= self.step.repairs:
            return reading
        self.repaired.append(unreadable.reason)
        reasons = self.step.parser_for(self.values).reasons
        spelled = unreadable.reason.replace("_", " ")
        why = reasons.get(unreadable.reason) or spelled
        if unreadable.reason == "misfit":
            said = reasons.get("misfit", "it does not fit")
            why = f"{said} ({unreadable.detail})"
        text = reading.completion.text
        self.aside += [
            {"role": "assistant", "content": text},
            {"role": "user", "content": _REPAIR.format(why=why)},
        ]
        return None

    def _goes_on(self) -> None:
        """A reply was read."""
        self.number += 1
        self.aside = []
        self.repaired = []

    async def _said(
        self, talk: Talk | None, reading: Reading
    ) -> Reading | None:
        """Takes what the step's teacher says; in a talk, asks the second speaker behind it."""
        said = split_thoughts(reading.completion.text).answer.strip()
        text, ended = talk.cut(said) if talk else (said, True)
        if text:
            self.turns.append({"role": "assistant", "content": text})
        else:
            # What nobody answers is no turn of the talk.
            while self.turns and not _is_said(self.turns[-1]):
                self.turns.pop()
        self.replies += 1
        is_cut = reading.completion.finish_reason in CUT
        if talk is None or ended or is_cut or not text:
            return reading
        if self.replies == talk.turns:
            return reading
        seen = swapped([*self.step.opening(self.values), *self.turns])
        told = Said(tuple(seen), self.replies - 1)
        other = await self.ask(talk.second, told)
        if other.unreadable:
            return other
        text, ended = talk.cut(other.fields["content"])
        if ended or other.completion.finish_reason in CUT:
            return reading
        self.turns.append({"role": "user", "content": text})
        self._goes_on()
        return None

    async def _called(
        self, tooling: Tooling, reading: Reading
    ) -> Reading | None:
        """Answers the calls of a reply, in their order; those beyond the limit are no part of the
        conversation.
        """
        left = tooling.most_calls - self.calls
        if left <= 0:
            return reading
        calls = reading.completion.calls[:left]
        said = split_thoughts(reading.completion.text).answer.strip()
        # Nine letters and digits: what every provider takes.
        ids = [f"call{self.calls + place:05d}" for place in range(len(calls))]
        listed = [
            _spelled(call, name) for call, name in zip(calls, ids, strict=True)
        ]
        self.turns.append(
            {"role": "assistant", "content": said, "tool_calls": listed}
        )
        for place, call in enumerate(calls):
            where = f"{reading.meta['key']} {place}"
            answer = await self._answer(tooling, call, where)
            self.calls += 1
            self.turns.append(
                {
                    "role": "tool",
                    "tool_call_id": ids[place],
                    "content": answer,
                }
            )
        self._goes_on()
        return None

    async def _answer(self, tooling: Tooling, call: Call, where: str) -> str:
        """What a call brings: of the world, of a role, of a function, or what is wrong with it.

        Args:
            tooling: the step's.
            call: as it came.
            where: key of the reply that calls, and the place of the call in it.
        """
        try:
            tool, arguments = tooling.read(call)
        except Misuse as misuse:
            return str(misuse)
        player = tooling.players.get(tool.name)
        if tooling.world and tool.name in tooling.simulated:
            known = dict.fromkeys(tool.parameters["properties"])
            self.state, said = tooling.world.act(
                self.state,
                tool.name,
                {**known, **arguments},
                self.values,
            )
            answer = cut(said)
        elif player is not None:
            answer = cut(await self._played(player, tool, arguments))
        else:
            target = (tooling.bound or {})[tool.name]
            functions = self.doors.functions
            answer = await functions.call(target, tool, arguments, where)
        answer = answer or "(nothing)"
        self.answered.append(
            {
                "tool": tool.name,
                "arguments": shown(arguments),
                "answer": answer,
            }
        )
        return answer

    async def _played(self, player: Step, tool: Tool, arguments: Row) -> str:
        """What a teacher answers in the place of a tool."""
        more = {
            "tool": tool.name,
            "about": tool.description,
            "arguments": shown(arguments),
            "calls": list(self.answered),
        }
        told = Said((), self.calls)
        reading = await self.ask(player, told, more)
        if reading.unreadable:
            return "error: the tool does not answer"
        return str(reading.fields["content"])


def _spelled(call: Call, name: str) -> Fields:
    """A call as later requests repeat it."""
    fit = spelled(call)
    return {
        "id": name,
        "type": "function",
        "function": {"name": fit.name, "arguments": fit.arguments},
    }


def _is_said(turn: Row) -> bool:
    """Whether a turn is what the assistant says to the user."""
    return turn["role"] == "assistant" and "tool_calls" not in turn


def swapped(turns: Sequence[Row]) -> list[Fields]:
    """A talk as the one who plays the user sees it: without calls of tools.

    >>> swapped([{"role": "user", "content": "Hello"}])
    [{'role': 'assistant', 'content': 'Hello'}]
    """
    return [
        {"role": _OTHER[turn["role"]], "content": turn["content"]}
        for turn in turns
        if turn["role"] in _OTHER and "tool_calls" not in turn
    ]
