"""Texts of the student by a server that is given its weights as they change."""

from __future__ import annotations

import asyncio
import random
import secrets
import shutil
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import uvloop

from finetune.core.rows import JsonObject
from finetune.core.tensors import RowLogProbs
from finetune.rollouts.fingerprints import Fingerprints
from finetune.rollouts.reloading import Reload, way_of
from finetune.rollouts.settings import Rollouts
from finetune.rollouts.text_server import (
    NO_MODEL,
    Drawn,
    Text,
    TextServer,
)
from finetune.teachers.scored_tokens import Vocabulary
from synth.cli.command_group import say
from synth.core.errors import (
    Stopped,
    TeacherBusy,
    TeacherError,
    TeacherRefused,
    WrongUse,
)
from synth.teachers.base import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Answer = TypeVar("Answer")

# Times that a server is given its weights again before the training ends.
_TRIES = 3
# Seconds between two looks at a server that is not yet done.
_PAUSE = 0.2


class Student(Protocol):
    """Whose weights the server is given."""

    def save(self, folder: Path) -> None:
        """Writes them as a folder that servers open."""

    def said(self, probes: Sequence[Sequence[int]]) -> RowLogProbs:
        """[P, V] log-probabilities behind each probe, under the weights as they are."""


@dataclass
class Counts:
    """What was done.

    Attributes:
        texts: written.
        loads: of new weights.
        again: of the same, by a server that had lost them.
        load_seconds: of both.
        waited: seconds in which a step waited for a load.
        ages: sum over the texts of the steps that their weights were old.
        oldest: of these, the most.
    """

    texts: int = 0
    loads: int = 0
    again: int = 0
    load_seconds: float = 0.0
    waited: float = 0.0
    ages: int = 0
    oldest: int = 0


class ServedTexts:
    """A server that writes the student's texts.

    Args:
        how: it is reached and given weights.
        tokenizer: the student's.
        folder: where weights are written, which the server must be able to read.
        adapter: whether the student is trained as an adapter.
        exact: whether the probability of each token is needed.

    Raises:
        WrongUse: a server that takes no weights, or several models and no name.
        Stopped: one that does not answer.
    """

    def __init__(
        self,
        how: Rollouts,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        *,
        adapter: bool,
        exact: bool = False,
    ) -> None:
        self.how = how
        self.words = Vocabulary(tokenizer)
        self.folder = folder
        self.exact = exact
        self.prints = Fingerprints()
        self.probes: Sequence[Sequence[int]] = ()
        self.counts = Counts()
        # No other training's adapters have such names.
        self.token = secrets.token_hex(4)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        # Weights are given beside the steps.
        self._pool = ThreadPoolExecutor(1, "reload")
        self._pending: Future[None] | None = None
        self.way: Reload
        self.model = how.model
        # Steps at which the weights were taken that are given last, and that are in use.
        self.given = self.used = 0
        try:
            self.way = self._now(self._greeted(adapter=adapter))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connections, and takes adapters out of the server."""
        try:
            if self.counts.loads and self.way.adapter:
                self._now(self._forget(self.used))
        except (TeacherError, Stopped):
            # A server that is gone has forgotten them.
            pass
        finally:
            self._pool.shutdown()
            self._runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def begin(
        self, student: Student, step: int, probes: Sequence[Sequence[int]]
    ) -> None:
        """Gives the first weights, and looks whether the server writes with them.

        Args:
            student: whose they are.
            step: of the training, which may be a resumed one.
            probes: token ids that it is asked about.

        Raises:
            WrongUse: it refuses them, or says other things than they do.
        """
        self.student = student
        self.probes = probes
        try:
            self._give(step)
            self._settled()
            texts = self._now(self._probed(self._name(step)))
        except (TeacherError, Stopped) as error:
            raise WrongUse(
                self.how.named,
                str(error),
                "a server that takes the student's weights",
                f"Look into its log; it reads {self.folder}, or --reload-command does.",
            ) from error
        if any(len(text.ids) != 1 or text.logs is None for text in texts):
            raise WrongUse(
                self.how.named,
                "a server that does not say how likely its tokens were",
                "log-probabilities of the tokens that it writes",
                "Take vLLM, SGLang or llama.cpp.",
            )
        gap = self.prints.measure(self._name(step), texts)
        if self.prints.is_foreign(gap):
            raise WrongUse(
                self.how.named,
                f"tokens whose log-probabilities differ from the student's by {gap:.2f} nats",
                "a server of the student's model, with its tokenizer",
                "Serve the folder that --model names.",
            )
        say(
            f"texts by {self.how.url}, weights by {type(self.way).__name__}, "
            f"log-probabilities within {gap:.4f} nats"
        )

    def refresh(self, step: int) -> int:
        """Gives new weights where it is time, and waits where those in use would be too old.

        Args:
            step: optimiser steps that are done.

        Returns:
            How many steps old the weights are that write from now on.

        Raises:
            Stopped: the server does not take them.
        """
        if self._pending is not None and self._pending.done():
            self._settled()
        if step - self.given >= self.how.every:
            self._settled()
            self._give(step)
        # A server that takes whole weights does not write while it reads them.
        if not self.way.adapter or step - self.used > self.how.oldest:
            self._settled()
        return step - self.used

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        how: Drawn,
        seed: str,
        age: int,
    ) -> list[Text]:
        """What the server writes behind prompts with the weights in use; texts of a server that has
        lost them are thrown away, and it is given them again.

        Args:
            prompts: token ids of each.
            how: tokens are drawn.
            seed: that the texts' own follow from.
            age: of the weights in steps, as `refresh` said.

        Raises:
            Stopped: the server cannot write, or loses its weights again and again.
        """
        seeds = [
            random.Random(f"{seed}/{place}").getrandbits(31)
            for place in range(len(prompts))
        ]
        for _ in range(_TRIES):
            try:
                texts = self._now(self._written(prompts, how, seeds))
                lost = self._now(self._lost())
            except TeacherRefused as error:
                if error.kind != NO_MODEL or not self.way.adapter:
                    raise self._stopped(error) from error
                lost = str(error)
            except TeacherError as error:
                raise self._stopped(error) from error
            if not lost:
                self._count(len(texts), age)
                return texts
            say(
                f"{self.how.url} has lost the weights of step {self.used:,} ({lost}): they are "
                "given again, and its texts written again",
                err=True,
            )
            self.counts.again += 1
            self._load_again()
        raise Stopped(
            "rollouts",
            f"{self.how.named} lost its weights {_TRIES} times in one step. See its log, then go "
            "on with --resume.",
        )

    def word(self) -> str:
        """What was done so far, to be read."""
        said = self.record()
        return (
            f"rollouts: {said['texts']:,} texts, weights {said['mean_age']:g} steps old on "
            f"average and {said['oldest']:,} at most, {said['loads']:,} loads in "
            f"{said['load_seconds']:g} s ({said['again']:,} again), waited {said['waited']:g} s"
        )

    def record(self) -> JsonObject:
        """The same for a record."""
        done = self.counts
        return {
            "url": self.how.url,
            "texts": done.texts,
            "loads": done.loads,
            "again": done.again,
            "load_seconds": round(done.load_seconds, 2),
            "waited": round(done.waited, 2),
            "mean_age": round(done.ages / max(1, done.texts), 3),
            "oldest": done.oldest,
        }

    def told(self) -> JsonObject:
        """The record of a training that has ended, which is said too."""
        say(self.word())
        return {"rollouts": self.record()}

    def _count(self, texts: int, age: int) -> None:
        self.counts.texts += texts
        self.counts.ages += texts * age
        self.counts.oldest = max(self.counts.oldest, age)

    def _now(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)

    def _stopped(self, error: TeacherError) -> Stopped:
        text = f"{self.how.named}: {error}. Go on with --resume."
        return Stopped(error.kind, text)

    def _server(self, model: str, *, native: bool) -> TextServer:
        settings = Settings(
            api_base=self.how.url,
            # Without a variable of its own the server sees no key.
            api_key_env=self.how.key_env,
            timeout=self.how.timeout,
        )
        return TextServer(model, settings, self.words, native=native)

    def _name(self, step: int) -> str:
        """The version of the weights of a step."""
        return f"potstill-{self.token}-{step}"

    def _asked(self, version: str) -> TextServer:
        """The server, as it is asked for texts of a version."""
        model = version if self.way.adapter else self.model
        if self.way.native and not self.way.adapter:
            # SGLang's `lora_path` is for adapters alone.
            model = ""
        return self._server(model, native=self.way.native)

    async def _greeted(self, *, adapter: bool) -> Reload:
        server = self._server(self.model, native=False)
        try:
            if not self.model:
                said = await server.told("/v1/models")
                names = [str(one.get("id")) for one in said.get("data") or ()]
                if len(names) != 1:
                    raise WrongUse(
                        self.how.named,
                        f"models {', '.join(names) or 'none'}",
                        "one model, or --rollout-model",
                        "Name it.",
                    )
                self.model = names[0]
            return await way_of(server, self.how, adapter=adapter)
        except TeacherBusy as error:
            raise Stopped(error.kind, f"{self.how.named}: {error}") from error
        finally:
            await server.close()

    def _give(self, step: int) -> None:
        """Writes the weights, and begins to give them."""
        version = self._name(step)
        self.student.save(self.folder / version)
        self.prints.add(version, self.student.said(self.probes))
        self.given = step
        self._pending = self._pool.submit(self._load, step)

    def _settled(self) -> None:
        """Waits until the weights that were given last are in use.

        Raises:
            Stopped: the server does not take them.
        """
        if self._pending is None:
            return
        begun = time.monotonic()
        pending, self._pending = self._pending, None
        try:
            pending.result()
        except TeacherError as error:
            raise self._stopped(error) from error
        finally:
            self.counts.waited += time.monotonic() - begun
        before, self.used = self.used, self.given
        if before != self.used:
            self._now(self._forget(before))

    def _load(self, step: int) -> None:
        """Gives the weights of a step; in a thread of its own, or in this one."""
        begun = time.monotonic()
        asyncio.run(self._loaded(step))
        self.counts.loads += 1
        self.counts.load_seconds += time.monotonic() - begun

    def _load_again(self) -> None:
        try:
            self._load(self.used)
        except TeacherError as error:
            raise self._stopped(error) from error

    async def _loaded(self, step: int) -> None:
        version = self._name(step)
        folder = str((self.folder / version).resolve())
        server = self._server(self.model, native=False)
        try:
            await self.way.load(server, folder, version)
        finally:
            await server.close()
        deadline = time.monotonic() + self.how.timeout
        while other := await self._other(version):
            # A command may end before the server has read what it was given.
            if time.monotonic() > deadline:
                raise TeacherRefused(
                    "reload",
                    f"{self.how.timeout:g} s after a load the server still writes with {other}",
                )
            await asyncio.sleep(_PAUSE)

    async def _forget(self, step: int) -> None:
        version = self._name(step)
        server = self._server(self.model, native=False)
        try:
            await self.way.forget(server, version)
        finally:
            await server.close()
        shutil.rmtree(self.folder / version, ignore_errors=True)

    async def _written(
        self,
        prompts: Sequence[Sequence[int]],
        how: Drawn,
        seeds: Sequence[int],
    ) -> list[Text]:
        server = self._asked(self._name(self.used))
        most = self.how.concurrency
        try:
            texts = await server.write(prompts, how, seeds, most)
        finally:
            await server.close()
        if self.exact and any(text.logs is None for text in texts):
            raise TeacherRefused(
                "no_logprobs", "tokens without log-probabilities"
            )
        return texts

    async def _probed(self, version: str) -> list[Text]:
        """One token behind each probe."""
        server = self._asked(version)
        seeds = range(len(self.probes))
        try:
            return await server.write(
                self.probes, Drawn(new_tokens=1), seeds, self.how.concurrency
            )
        finally:
            await server.close()

    async def _lost(self) -> str:
        """What the server writes with now, if not with the weights in use; "" if with these."""
        if self.way.adapter:
            return ""
        return await self._other(self._name(self.used))

    async def _other(self, version: str) -> str:
        """The weights that the server has in the place of a version; "" where it has these."""
        server = self._server(self.model, native=False)
        try:
            told = await self.way.version(server)
        finally:
            await server.close()
        if told is not None and told != version:
            return told
        if len(self.prints.known) < 2:
            # `begin` looks at the first ones.
            return ""
        texts = await self._probed(version)
        if any(not text.ids or text.logs is None for text in texts):
            return ""
        return self.prints.other_than(version, texts)
