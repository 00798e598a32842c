"""A model on this machine, through transformers in a worker process of its own: `local/PATH`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import orjson

from synth.errors import Stopped, TeacherBusy, TeacherRefused, WrongUse, did_you_mean
from synth.records import Request, canonical_json
from synth.teachers.base import Reply, Settings, Teacher, read_chat

# One line of the worker: a reply with log-probabilities of thousands of tokens.
_LINE = 256 * 1024 * 1024
# Bytes of each file that name the weights: training changes all of them.
_PIECE = 65_536


class Local(Teacher):
    """Weights in a folder (or a name of the hub), asked in batches; token log-probabilities where `logprobs` is set.

    Args:
        model: a folder that `save_pretrained` wrote. Requests name it with a fingerprint of its files, so that other
            weights in the same folder are another teacher.
        settings: not used; a generation takes as long as it takes, and a worker that ends is started again.
    """

    family = "local"

    def __init__(self, model: str, settings: Settings) -> None:  # noqa: ARG002
        missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
        if missing:
            raise WrongUse(f"--teacher local/{model}", f"no {missing[0]}", "torch and transformers", "pip install 'potstill[finetune]'")
        folder = Path(model)
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise WrongUse(f"--teacher local/{model}", "a folder without config.json", "a saved model", _beside(folder))
        if not folder.exists() and (model.startswith((".", "/")) or model.count("/") != 1):
            raise WrongUse(f"--teacher local/{model}", "no such folder", "a saved model, or ORG/NAME of the hub", _beside(folder))
        self._path = model
        self.model = f"{folder.resolve().name}@{fingerprint(folder)}" if folder.is_dir() else model
        self._worker: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._errors: IO[bytes] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"Local({self._path!r})"

    async def ask(self, request: Request) -> Reply:
        """One reply of the worker, started (again) where none runs."""
        worker = await self._running()
        number, self._count = self._count, self._count + 1
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert worker.stdin is not None  # noqa: S101 - asked for above
        try:
            worker.stdin.write(canonical_json({"id": number, "body": request.body()}) + b"\n")
            await worker.stdin.drain()
            said = await future
        except ConnectionError as error:
            raise TeacherBusy("worker", "the worker has ended") from error
        finally:
            self._waiting.pop(number, None)
        if "error" in said:
            raise TeacherRefused(said["error"]["kind"], said["error"]["message"])
        return Reply(canonical_json(said["reply"]), read_chat(said["reply"]))

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._worker is None or self._worker.returncode is not None:
                self._worker = await self._start()
            return self._worker

    async def _start(self) -> asyncio.subprocess.Process:
        """A worker that has loaded the model.

        Raises:
            Stopped: it cannot; every request would meet the same.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "finetune.answer", self._path,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=self._errors, limit=_LINE, start_new_session=True,
        )  # fmt: skip
        assert worker.stdout is not None  # noqa: S101 - asked for above
        line = await worker.stdout.readline()
        said = orjson.loads(line) if line else {"error": {"message": f"the worker ended: {self._last_words()}"}}
        if "error" in said:
            await worker.wait()
            raise Stopped("model", said["error"]["message"])
        self._reader = asyncio.create_task(self._read(worker))
        return worker

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0, 2)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        return " ".join(self._errors.read().decode("utf-8", "replace").split())[-300:]

    async def _read(self, worker: asyncio.subprocess.Process) -> None:
        """Hands each line to who waits for it; when the worker ends, nobody waits any longer."""
        assert worker.stdout is not None  # noqa: S101 - asked for above
        while line := await worker.stdout.readline():
            said = orjson.loads(line)
            future = self._waiting.pop(said["id"], None)
            if future is not None and not future.done():
                future.set_result(said)
        await worker.wait()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TeacherBusy("worker", f"the worker ended: {self._last_words()}"))

    async def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None and self._worker.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._worker.kill()
            await self._worker.wait()
        if self._reader is not None:
            await self._reader
        self._worker = self._reader = None


def fingerprint(folder: Path) -> str:
    """12 hex digits of the sizes and of three pieces of every weights, tokenizer and configuration file."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".json", ".model", ".jinja")):
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
    names = [p.name for p in parent.iterdir() if (p / "config.json").is_file()] if parent.is_dir() else []
    return did_you_mean(folder.name, names)
