"""A model on this machine, through transformers in a worker process of its own: `local/PATH`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
from pathlib import Path
from typing import Any

import orjson

from synth.core.errors import (
    Stopped,
    TeacherBusy,
    TeacherRefused,
    WrongUse,
    did_you_mean,
)
from synth.core.optional import require
from synth.core.records import Fields, Request, canonical_json, ordered_json
from synth.processes import leash
from synth.teachers.base import Reply, Settings, Teacher
from synth.teachers.wire.forms import in_the_question
from synth.teachers.wire.replies import read_chat

# One line of the worker: a reply with log-probabilities of thousands of tokens.
_LINE = 256 * 1024 * 1024
# Bytes of each file that name the weights: training changes all of them.
_PIECE = 65_536
# Files that make a model, and what a training leaves beside them.
_OF_A_MODEL = re.compile(
    r".*\.(safetensors|bin|model|jinja)"
    r"|(.*config|.*token.*|vocab|.*index|chat_template)\.json",
)
_RECORD = "train.json"
# How much longer than one request loading a model may take, and seconds for it at least.
_LOAD_TIMES = 5
_LOAD_SECONDS = 60.0
# A killed process is gone in milliseconds, unless the kernel itself waits for a device.
_GONE_SECONDS = 5.0
# Characters of standard error that are kept, and seconds to wait for them when it has ended.
_MOST_WORDS = 2000
_LAST_WORDS_SECONDS = 1.0


class _NotBegun(Exception):
    """The worker ended while it did something else; the next one is asked."""


class _Worker:
    """One process that loads the model and answers, and those who wait for it.

    Args:
        path: the model.
        timeout: seconds that it may be silent while somebody waits: as long as it works on one
            batch of requests.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Fields] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[Fields]] = {}
        self._begun: set[int] = set()
        self._count = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._words = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self.over = False

    async def start(self) -> None:
        """Returns when the model is loaded.

        Raises:
            Stopped: it cannot be; every request would meet the same.
        """
        pipe = asyncio.subprocess.PIPE
        command = leash.command(
            "-m", "finetune.generation.chat_worker", self._path
        )
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                limit=_LINE,
                start_new_session=True,
            )
        except OSError as error:
            self.over = True
            raise Stopped(
                "model", f"its process cannot be started: {error}"
            ) from error
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - pipes
        self._stdin = process.stdin
        listener = asyncio.create_task(self._listen(process.stderr))
        self._tasks = [
            listener,
            asyncio.create_task(self._read(process.stdout, listener)),
        ]
        seconds = max(_LOAD_SECONDS, _LOAD_TIMES * self._timeout)
        try:
            async with asyncio.timeout(seconds):
                failure = await self._ready
        except TimeoutError:
            failure = {
                "message": f"{self._path} is not loaded within {seconds:,.0f} s (--timeout)"
            }
        except BaseException:
            await self.close()
            raise
        if failure:
            await self.close()
            raise Stopped("model", failure["message"])

    async def ask(self, body: Fields) -> Fields:
        """What it says to a request.

        Raises:
            TeacherBusy: it ended, or was silent for too long.
            _NotBegun: the same, for the sake of other requests.
        """
        number = self._count
        self._count = self._count + 1
        if self.over:
            raise _NotBegun
        future: asyncio.Future[Fields] = self._loop.create_future()
        self._waiting[number] = future
        if len(self._waiting) == 1:
            self._heard()
        try:
            # One that has just ended cannot be written to: what ends the wait is the future.
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._stdin.write(
                    ordered_json({"id": number, "body": body}) + b"\n"
                )
            return await future
        finally:
            self._waiting.pop(number, None)

    def kill(self) -> None:
        """Ends the process and what it has started."""
        self.over = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Ends the process; nobody waits for it any longer."""
        self.kill()
        if self._process is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _GONE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Who reads may have been ended before it told those that wait.
        self._begun = set(self._waiting)
        self._end(TeacherBusy("worker", "the worker was ended"))

    def _heard(self) -> None:
        """It may be silent for `timeout` from now on."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(self._timeout, self._hangs)

    def _hangs(self) -> None:
        if self._waiting:
            self._end(
                TeacherBusy(
                    "timeout",
                    f"not answered within {self._timeout:g} s (--timeout)",
                )
            )

    def _end(self, why: TeacherBusy) -> None:
        """Ends the process for what it was doing; where it did nothing, for what it was asked."""
        self.kill()
        if self._alarm is not None:
            self._alarm.cancel()
        begun = self._begun & self._waiting.keys() or set(self._waiting)
        for number, future in self._waiting.items():
            if not future.done():
                future.set_exception(why if number in begun else _NotBegun())
        if not self._ready.done():
            self._ready.set_result({"message": str(why)})

    async def _read(
        self, output: asyncio.StreamReader, listener: asyncio.Task[None]
    ) -> None:
        """Hands each line to who waits for it, until the process ends."""
        with contextlib.suppress(
            ValueError
        ):  # a line beyond any reply's length
            while line := await output.readline():
                with contextlib.suppress(
                    orjson.JSONDecodeError
                ):  # a library's print
                    self._take(orjson.loads(line))
        await asyncio.wait([listener], timeout=_LAST_WORDS_SECONDS)
        last_words = " ".join(self._words.decode("utf-8", "replace").split())[
            -300:
        ]
        self._end(TeacherBusy("worker", f"the worker ended: {last_words}"))

    def _take(self, message: Any) -> None:
        """A line of the worker; those who have left are passed over."""
        match message:
            case {"begun": [*numbers]}:
                self._begun = set(numbers)
            case {"id": int(number)}:
                future = self._waiting.get(number)
                if future is not None and not future.done():
                    future.set_result(message)
            case {"ready": True} if not self._ready.done():
                self._ready.set_result({})
            case {"error": dict(error)} if not self._ready.done():
                self._ready.set_result(error)
            case _:
                return
        self._heard()

    async def _listen(self, errors: asyncio.StreamReader) -> None:
        """Keeps the end of what it says on standard error, of which there may be any amount."""
        while part := await errors.read(1 << 16):
            self._words = (self._words + part)[-_MOST_WORDS:]


class Local(Teacher):
    """Weights in a folder (or a name of the hub), asked in batches; token log-probabilities where
    `logprobs` is set.

    Args:
        model: a folder that `save_pretrained` wrote. Requests name it with a fingerprint of its
            files, so that other weights in the same folder are another teacher.
        settings: `timeout` is how long the worker may work on one batch of requests; loading may
            take five times as long, and a minute at least. A worker that is slower or ends is
            started again, and what it did not come to is asked of the next one.
    """

    family = "local"

    def __init__(self, model: str, settings: Settings) -> None:
        for package in ("torch", "transformers"):
            require(package, "finetune", f"--teacher local/{model}")
        folder = Path(model)
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise WrongUse(
                f"--teacher local/{model}",
                "a folder without config.json",
                "a saved model",
                _beside(folder),
            )
        if not folder.exists() and (
            model.startswith((".", "/")) or model.count("/") != 1
        ):
            raise WrongUse(
                f"--teacher local/{model}",
                "no such folder",
                "a saved model, or ORG/NAME of the hub",
                _beside(folder),
            )
        self._path = model
        self.model = (
            f"{folder.resolve().name}@{fingerprint(folder)}"
            if folder.is_dir()
            else model
        )
        self._worker: _Worker | None = None
        self._starting = asyncio.Lock()
        self._timeout = settings.timeout

    def __repr__(self) -> str:
        return f"Local({self._path!r})"

    async def ask(self, request: Request) -> Reply:
        """One reply of the worker, started (again) where none runs."""
        if request.images:
            raise TeacherRefused(
                "images", "a model on this machine is asked in text alone"
            )
        body = request.body()
        if request.sampling.thinks:
            self.say(
                f"local/{self._path}: reasoning does nothing to a model on this machine"
            )
            body.pop("thinking_tokens", None)
        if request.schema is not None:
            body = in_the_question(body, request.schema)
        answer = None
        while answer is None:
            worker = await self._running()
            with contextlib.suppress(_NotBegun):
                answer = await worker.ask(body)
        if "error" in answer:
            raise TeacherRefused(
                answer["error"]["kind"], answer["error"]["message"]
            )
        return Reply(
            canonical_json(answer["reply"]), read_chat(answer["reply"])
        )

    async def _running(self) -> _Worker:
        async with self._starting:
            if self._worker is not None and self._worker.over:
                await self._worker.close()
                self._worker = None
            if self._worker is None:
                self._worker = _Worker(self._path, self._timeout)
                await self._worker.start()
            return self._worker

    async def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None:
            await self._worker.close()
            self._worker = None


def fingerprint(folder: Path) -> str:
    """12 hex digits of the sizes and of three pieces of every weights, tokenizer and configuration
    file, and of the form in which its training asked. Records of a training or of an evaluation
    beside them make no other model.
    """
    digest = hashlib.sha256()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = orjson.loads((folder / _RECORD).read_bytes())
        digest.update(f"template {record['template']} ".encode())
    for path in sorted(folder.iterdir()):
        if _OF_A_MODEL.fullmatch(path.name) is None:
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            for start in (0, size // 2, max(0, size - _PIECE)):
                file.seek(start)
                digest.update(file.read(_PIECE))
    return digest.hexdigest()[:12]


def _beside(folder: Path) -> str:
    """A hint at the folders that stand where the missing one was looked for."""
    parent = folder.parent
    names = (
        [p.name for p in parent.iterdir() if (p / "config.json").is_file()]
        if parent.is_dir()
        else []
    )
    return did_you_mean(folder.name, names)
