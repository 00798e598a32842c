"""How servers are given weights: the ways of vLLM and of SGLang, and a command of the user's."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Protocol

from finetune.core.rows import JsonObject
from finetune.rollouts.settings import Rollouts
from finetune.rollouts.text_server import TextServer, refused
from synth.core.errors import TeacherRefused, WrongUse

_UNLOADED = frozenset({200, 400, 404})


class Reload(Protocol):
    """A way to give a server new weights.

    Attributes:
        adapter: whether adapters are given, each version under a name of its own; else the weights
            of the whole model, in the place of those before.
        native: whether SGLang is asked in its own words.
        path: of the place that the server must have; "" for none.
    """

    adapter: bool
    native: bool
    path: str

    async def load(self, server: TextServer, folder: str, version: str) -> None:
        """Gives the weights in a folder.

        Raises:
            TeacherError: they were refused.
        """

    async def forget(self, server: TextServer, version: str) -> None:
        """Takes a version out that nobody asks any more."""

    async def version(self, server: TextServer) -> str | None:
        """The version that the server says it has; None where it says none."""


class _Adapter:
    """Adapters by their names: a server that lost one refuses its name."""

    adapter = True
    native = False
    path = ""
    unload = ""

    async def forget(self, server: TextServer, version: str) -> None:
        """Unloads it; one that is gone already is no fault."""
        answer = await server.called(self.unload, {"lora_name": version})
        if answer.status not in _UNLOADED:
            raise refused(self.unload, answer)

    async def version(self, server: TextServer) -> str | None:  # noqa: ARG002
        """None: the name that is asked for is the version."""
        return None

    async def load(self, server: TextServer, folder: str, version: str) -> None:
        """The folder under the version's name."""
        body = {"lora_name": version, "lora_path": folder}
        answer = await server.called(self.path, body)
        if answer.status != 200:
            raise refused(self.path, answer)


class VllmAdapter(_Adapter):
    """VLLM with `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.

    A new path each time: under the same path and name vLLM keeps prefixes that it has computed with
    the weights before.
    """

    path = "/v1/load_lora_adapter"
    unload = "/v1/unload_lora_adapter"


class SglangAdapter(_Adapter):
    """SGLang with `--enable-lora`."""

    native = True
    path = "/load_lora_adapter"
    unload = "/unload_lora_adapter"


class _Weights:
    """The whole model's weights."""

    adapter = False
    native = False
    path = ""
    # Where the server says which weights it has, under `weight_version`.
    told = ""

    async def forget(self, server: TextServer, version: str) -> None:
        """Nothing: they are gone."""

    async def version(self, server: TextServer) -> str | None:
        """The version that it was told last, gone with a restart."""
        if not self.told:
            return None
        info = await server.told(self.told, patient=True)
        said = info.get("weight_version")
        return None if said is None else str(said)


class SglangWeights(_Weights):
    """SGLang, which needs no flag for it."""

    native = True
    path = "/update_weights_from_disk"
    told = "/model_info"

    async def load(self, server: TextServer, folder: str, version: str) -> None:
        """The server forgets its cache of prefixes with it."""
        body = {
            "model_path": folder,
            "weight_version": version,
            "flush_cache": True,
        }
        answer = await server.called(self.path, body)
        if answer.status != 200:
            raise refused(self.path, answer)


class VllmWeights(_Weights):
    """VLLM with VLLM_SERVER_DEV_MODE=1, as `trl vllm-serve` starts it."""

    path = "/collective_rpc"
    told = "/weight_info"

    async def load(self, server: TextServer, folder: str, version: str) -> None:
        """Each worker reads the folder, then prefixes are forgotten and the version is noted."""
        asked: JsonObject = {
            "method": "reload_weights",
            "kwargs": {"weights_path": folder},
        }
        for path, body, needed in (
            (self.path, asked, True),
            ("/reset_prefix_cache", {}, True),
            # Servers before it have no place for versions.
            ("/update_weight_version", {"new_version": version}, False),
        ):
            answer = await server.called(path, body)
            if answer.status != 200 and (needed or answer.status != 404):
                raise refused(path, answer)


class Command(_Weights):
    """A command of the user's, for any other server.

    Args:
        how: with the command and its timeout.
        adapter: whether the folder holds adapters.
    """

    def __init__(self, how: Rollouts) -> None:
        self.how = how

    async def load(self, server: TextServer, folder: str, version: str) -> None:  # noqa: ARG002
        """Runs it; what it writes to stderr is told where it fails."""
        await asyncio.to_thread(self._run, folder, version)

    def _run(self, folder: str, version: str) -> None:
        words = self.how.words(folder, version)
        try:
            done = subprocess.run(  # noqa: S603 - the user's own
                words,
                check=False,
                capture_output=True,
                timeout=self.how.timeout,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TeacherRefused("reload", str(error)) from error
        if done.returncode:
            said = done.stderr[-300:].decode(errors="replace").strip()
            text = f"{words[0]} ended with {done.returncode}: {said}"
            raise TeacherRefused("reload", text)


_OF_SERVERS: tuple[type[Reload], ...] = (
    VllmAdapter,
    SglangAdapter,
    SglangWeights,
    VllmWeights,
)


async def way_of(server: TextServer, how: Rollouts, *, adapter: bool) -> Reload:
    """The way that a server takes weights.

    Args:
        server: that is asked which places it has.
        how: with the command, where one is given.
        adapter: whether the student is trained as an adapter.

    Raises:
        WrongUse: it has none.
    """
    if how.command:
        return Command(how)
    ways = [kind() for kind in _OF_SERVERS if kind.adapter == adapter]
    for way in ways:
        if await server.has(way.path):
            return way
    todo = (
        "Start vLLM with VLLM_SERVER_DEV_MODE=1 in its environment, or take SGLang; or give "
        "--reload-command."
    )
    if adapter:
        todo = (
            "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, or SGLang with "
            "--enable-lora; or give --reload-command."
        )
    raise WrongUse(
        how.named,
        "a server that takes no weights",
        f"one of {', '.join(way.path for way in ways)}",
        todo,
    )
