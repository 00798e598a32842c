"""Teachers behind servers: what they say of a training's tokens is asked once and journaled, then
read from the disk.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import (
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import uvloop

from finetune.core.tensors import Inputs
from finetune.data.tokens import IGNORED, Prepared, vocabulary_digest
from finetune.losses.base_parts import TeacherAt
from finetune.teachers.by_row import ByRow
from finetune.teachers.cache import Known, known_of, rows_of
from finetune.teachers.in_process import sparse_at
from finetune.teachers.scored_tokens import Vocabulary, Way
from finetune.teachers.scorer import (
    PROBE,
    Scorer,
    question,
    refused_tokens,
    scores_in,
)
from finetune.teachers.served_settings import Servers
from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.door import Door
from synth.calls.journal import Journal
from synth.calls.price import FREE, Price, price_of
from synth.core.errors import (
    PotstillError,
    Stopped,
    TeacherError,
    TeacherRefused,
    WrongUse,
)
from synth.core.money import dollars
from synth.core.records import Request, Row
from synth.processes.ranks import is_first_process
from synth.teachers.base import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Answer = TypeVar("Answer")

_NOTE = "servers.json"
# Several scripts, digits and signs, which tokenizers cut in ways of their own.
_TEXT = "The quick brown fox can't jump: 12 + 345 = 357; na\u00efve caf\u00e9s (x_1), \u4f60\u597d."
# Fewer likeliest tokens that are tried where a server does not give as many as are wanted: what
# vLLM gives unless it is told otherwise, and OpenAI.
_FEWER = (20, 5)


@dataclass(frozen=True)
class Spoken:
    """How a server turned out to be asked.

    Attributes:
        url: its base.
        model: its name of the model.
        way: see `Way`.
        k: likeliest tokens that it gives.
    """

    url: str
    model: str
    way: str
    k: int


class Side(NamedTuple):
    """One server: how it is asked, and the door to it."""

    spoken: Spoken
    door: Door


class ServedTeacher:
    """Teachers of the student's tokens behind servers.

    What they say is journaled under `folder`: a training that was cut short, or the same again,
    asks nothing twice.

    Args:
        servers: how they are reached.
        tokenizer: the student's; each server's must be the same.
        folder: where the journal goes.

    Raises:
        WrongUse: a server that cannot score tokens, or scores others.
        Stopped: one that does not answer.
    """

    def __init__(
        self,
        servers: Servers,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
    ) -> None:
        self.servers = servers
        self.words = Vocabulary(tokenizer)
        self.digest = vocabulary_digest(tokenizer)
        self.names: Sequence[str] = ()
        self.by_row: ByRow[str] | None = None
        self.folder = folder
        first = is_first_process()
        self.journal = Journal(folder if first else None)
        self.follow()
        self.budget = Budget(servers.budget, self.journal.totals.usd)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        try:
            known = _noted(folder / _NOTE, self._asked())
            spoken = known or self._now(self._greeted())
            note = {"asked": self._asked(), "spoken": [*map(asdict, spoken)]}
            if first:
                text = json.dumps(note, indent=2) + "\n"
                (folder / _NOTE).write_text(text, encoding="utf-8")
            self.sides = self._opened(spoken)
        except BaseException:
            self.close()
            raise

    def follow(self) -> None:
        """Of several processes, reads again what the first one has written; that one has it."""
        if is_first_process():
            return
        for other in self.journal.others:
            other.release()
        self.journal.others = [Journal(self.folder, writable=False)]

    @property
    def models(self) -> list[str]:
        """Their names, as a record has them."""
        return list(self.sides)

    def word(self) -> str:
        """How they were asked so far, to be read."""
        parts = []
        for side in self.sides.values():
            spoken, stats = side.spoken, side.door.stats
            usd = stats.usd if self._knows(spoken.model) else None
            parts.append(
                f"{spoken.model} by {spoken.way}, {spoken.k} tokens a place, {stats.asked:,} "
                f"calls, {stats.reused:,} from the journal, {dollars(usd)}"
            )
        return f"teacher: {'; '.join(parts)}"

    @property
    def k(self) -> int:
        """Most tokens that a server gives at a place, the row's own among them."""
        widest = max(side.spoken.k for side in self.sides.values())
        return min(widest + 1, self.words.size)

    def _now(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            return self._runner.run(work)
        except TeacherError as error:
            todo = "What came is journaled; the same command goes on."
            where = self.servers.named
            raise Stopped(
                error.kind, f"{where}: {error.args[1]}. {todo}"
            ) from error

    def _asked(self) -> Row:
        """What the servers' answers to the first questions depend on."""
        servers = self.servers
        return {
            "urls": list(servers.urls),
            "models": list(servers.models),
            "k": servers.k,
            "tokenizer": self.digest,
        }

    def _opened(self, spoken: Iterable[Spoken]) -> dict[str, Side]:
        """The servers by the names of their models."""
        sides: dict[str, Side] = {}
        for number, one in enumerate(spoken):
            if one.model in sides:
                raise WrongUse(
                    self.servers.named,
                    f"the model {one.model} twice",
                    "a model each",
                    "Put a balancer before servers of one model, and name that.",
                )
            scorer = self._scorer(number, one.model)
            sides[one.model] = Side(one, self._door(scorer))
        return sides

    def _scorer(self, number: int, model: str) -> Scorer:
        servers = self.servers
        settings = Settings(
            api_base=servers.urls[number],
            # Without a variable of its own no server sees a key.
            api_key_env=servers.keys[number] if servers.keys else "",
            timeout=servers.timeout,
        )
        return Scorer(model, settings, self.words)

    def _door(self, scorer: Scorer) -> Door:
        return Door(
            scorer,
            self.journal,
            gate=Gate(self.servers.concurrency),
            budget=self.budget,
            price=self._price(scorer.model),
        )

    def _knows(self, model: str) -> bool:
        """Whether the price of a model is known."""
        return price_of(f"openai/{model}", self.servers.price) is not None

    def _price(self, model: str) -> Price:
        price = price_of(f"openai/{model}", self.servers.price)
        if price is None and self.servers.budget is not None:
            raise WrongUse(
                f"--budget {self.servers.budget:g}",
                f"no price of {model}",
                "a price",
                "Say it: --price IN,OUT in dollars per million tokens.",
            )
        return price or FREE

    async def _greeted(self) -> list[Spoken]:
        """How each server is asked."""
        return [
            await self._meet(number) for number in range(len(self.servers.urls))
        ]

    async def _meet(self, number: int) -> Spoken:
        """Finds how a server scores the tokens of a text, and whether they are the student's.

        Raises:
            WrongUse: it scores none, or others.
        """
        servers = self.servers
        url = servers.urls[number]
        model = servers.models[number] if servers.models else ""
        if not model:
            first = self._scorer(number, "")
            try:
                model = _only(url, await first.models())
            finally:
                await first.close()
        scorer = self._scorer(number, model)
        try:
            return await self._tried(url, scorer)
        except TeacherRefused as error:
            if error.kind != "other_tokens":
                raise
            raise refused_tokens(f"--teacher-url {url}", error) from error
        finally:
            await scorer.close()

    async def _tried(self, url: str, scorer: Scorer) -> Spoken:
        """The first way, and the most tokens, that a server answers."""
        encode = self.words.tokenizer
        ids = list(encode(_TEXT, add_special_tokens=False)["input_ids"])
        await scorer.check_tokens(_TEXT, ids)
        wanted = self.servers.k
        door = self._door(scorer)
        heard = []
        for way in Way:
            for k in (wanted, *(k for k in _FEWER if k < wanted)):
                asked, places = ids, [*range(1, len(ids))]
                if way is Way.NEXT:
                    asked, places = ids[:-1], places[-1:]
                request = question(way, scorer.model, asked, places, k)
                try:
                    await door.ask(_as_probe(request))
                except (TeacherRefused, Stopped) as error:
                    if error.kind in {"other_tokens", "key", "quota"}:
                        raise
                    heard.append(f"{way}: {error}")
                    if error.kind != "bad_request":
                        break
                else:
                    return Spoken(url, scorer.model, str(way), k)
        todo = (
            "Serve it with vLLM or llama.cpp; or let it write rows: `synth run` with "
            "top_logprobs, then `finetune teach --replies` (docs/losses.md)."
        )
        raise WrongUse(
            f"--teacher-url {url}",
            "; ".join(dict.fromkeys(heard)),
            "a server that gives log-probabilities of given tokens",
            todo,
        )

    def require(self, named: Mapping[str, Sequence[str]]) -> None:
        """Takes down who teaches each row. Refuses rows that do not say so, by the name of a model,
        where there are several servers.

        Args:
            named: what named some rows, for messages -> the name in each of them, () where they
                name nobody.

        Raises:
            WrongUse: none, or one that no server has.
        """
        self.names = [name for names in named.values() for name in names]
        listed = ", ".join(self.sides)
        if len(self.sides) > 1 and not self.names:
            raise WrongUse(
                self.servers.named,
                f"{len(self.sides)} models, and rows that do not say who teaches them",
                "rows with a column `teacher`",
                f"Give each row one of {listed}.",
            )
        for where, names in named.items():
            self._check_names(names, where)

    def _check_names(self, names: Sequence[str], where: str) -> None:
        for number, name in enumerate(names, 1):
            if name not in self.sides:
                raise WrongUse(
                    f"{where} row {number}",
                    f"teacher = {name!r}",
                    f"one of {', '.join(self.sides)}",
                    "Correct the row, or name its server with --teacher-url.",
                )

    def route(self, made: Prepared) -> None:
        """Says whom each row is asked of, by the names that `require` was told.

        Args:
            made: the rows that are left, as the teachers see them.

        Raises:
            WrongUse: two rows of the same tokens with two teachers.
        """
        if self.names:
            left = [self.names[position] for position in made.positions]
            self.by_row = ByRow(made.rows, left, "teachers")

    def check_prompts(self) -> None:
        """Refuses one prompt with two teachers, before students write to it.

        Raises:
            WrongUse: with the rows.
        """
        if self.by_row is not None:
            self.by_row.check_prompts()

    def says(self, inputs: Inputs) -> TeacherAt:
        """Asks about each sequence of the batch, unless the journal knows it."""
        rows = [(ids, labels) for _, _, ids, labels in rows_of(inputs)]
        return sparse_at(inputs, self.known(rows))

    def known(
        self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> list[Known]:
        """What they say of the learnt tokens of rows, `k` entries each.

        Args:
            rows: ids and labels of each.

        Raises:
            BudgetReached, Stopped: what is known by then is journaled.
        """
        asked = [[*self._questions(ids, labels)] for ids, labels in rows]
        self._now(self._all(asked))
        found = []
        for requests in asked:
            tables = []
            for request in requests:
                tables += scores_in(self._record(request))
            found.append(known_of(tables, self.k, self.words.size))
        return found

    def prepare(self, rows: Sequence[Row]) -> None:
        """Asks about rows before they are trained on, so that no step waits.

        Raises:
            BudgetReached, Stopped: what is known by then is journaled.
        """
        self._now(
            self._all(
                self._questions(row["input_ids"], row["labels"]) for row in rows
            )
        )

    def _record(self, request: Request) -> bytes:
        raw = self.journal.get(request.key())
        assert raw is not None  # noqa: S101 - it was asked just now
        return raw

    def _side(self, ids: Sequence[int], labels: Sequence[int]) -> Side:
        if self.by_row is None:
            return next(iter(self.sides.values()))
        return self.sides[self.by_row.of(ids, labels)]

    def _questions(
        self, ids: Sequence[int], labels: Sequence[int]
    ) -> Iterator[Request]:
        """What is asked about a row: all at once, or place by place."""
        spoken = self._side(ids, labels).spoken
        way = Way(spoken.way)
        learnt = enumerate(labels[1:], 1)
        places = [n for n, label in learnt if label != IGNORED]
        if way is not Way.NEXT:
            yield question(way, spoken.model, ids, places, spoken.k)
            return
        for place in places:
            before = ids[:place]
            yield question(way, spoken.model, before, [place], spoken.k)

    async def _all(self, asked: Iterable[Iterable[Request]]) -> None:
        """Asks, so many rows side by side; the questions of a row one after the other, so that its
        beginning is in the server's cache.

        After a failure nothing more is asked, and what is in flight is waited for: it is paid.
        """
        waiting = iter(asked)
        failures: list[PotstillError] = []

        async def work() -> None:
            for requests in waiting:
                for request in requests:
                    if failures:
                        return
                    try:
                        await self.sides[request.model].door.ask(request)
                    except PotstillError as error:
                        failures.append(error)

        count = self.servers.concurrency * len(self.sides)
        await asyncio.gather(*(work() for _ in range(count)))
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Closes connections and journal."""
        for side in getattr(self, "sides", {}).values():
            self._now(side.door.teacher.close())
        self._now(self.journal.close())
        self._runner.close()


def _as_probe(request: Request) -> Request:
    return replace(request, step=PROBE)


def _only(url: str, models: Sequence[str]) -> str:
    """The one model of a server.

    Raises:
        WrongUse: none, or several.
    """
    if len(models) != 1:
        raise WrongUse(
            f"--teacher-url {url}",
            f"{len(models)} models ({', '.join(models[:5])})",
            "one, or the name of one",
            "Say it: --teacher-model NAME.",
        )
    return models[0]


def _noted(path: Path, asked: Row) -> list[Spoken] | None:
    """How the servers are asked, as an earlier start of the same training found; None where nothing
    of it is known.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if note["asked"] == asked:
            return [Spoken(**one) for one in note["spoken"]]
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None
