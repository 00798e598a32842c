"""How texts of the student are written by a server that is given its weights: settings alone,
without torch.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.processes.ranks import is_launched
from synth.teachers.wire.access import check_url, secret

# What `--reload-command` may name.
_FOLDER = "{folder}"
_VERSION = "{version}"


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """A server that writes the student's texts.

    Attributes:
        url: its base, such as http://127.0.0.1:8000/v1.
        model: its name of the student; "" asks the server, which must then serve one.
        key_env: the variable that holds its key; "" sends none.
        command: that gives the server new weights, with `{folder}` and `{version}` in it; "" for
            the server's own way.
        every: optimiser steps after which it is given new weights, 1 or more.
        staleness: how many steps old the weights that write a text may be, 0 or more; a step waits
            where they would be older. None for `every` - 1.
        concurrency: texts in flight at most.
        timeout: seconds of one call, and of one reload.
    """

    url: str
    model: str = ""
    key_env: str = ""
    command: str = ""
    every: int = 1
    staleness: int | None = None
    concurrency: int = 64
    timeout: float = 600.0

    @property
    def oldest(self) -> int:
        """Steps that the weights of a text may be old."""
        return self.every - 1 if self.staleness is None else self.staleness

    @property
    def named(self) -> str:
        """The setting as it was given."""
        return f"--rollout-url {self.url}"

    def words(self, folder: str, version: str) -> list[str]:
        """The command with its arguments, no shell between.

        >>> Rollouts(url="http://127.0.0.1:1/v1", command="load {folder}").words("/a b", "s-1")
        ['load', '/a b']
        """
        return [
            word.replace(_FOLDER, folder).replace(_VERSION, version)
            for word in shlex.split(self.command)
        ]

    def check(self) -> None:
        """Finds mistakes before anybody is asked.

        Raises:
            WrongUse: a URL, a variable, a command or a number that cannot be used; several
                processes.
        """
        check_url(self.url, "--rollout-url")
        if self.key_env:
            secret(self.key_env, "--rollout-key-env")
        if self.oldest < self.every - 1:
            raise WrongUse(
                f"--staleness {self.oldest}",
                f"--reload-every {self.every}: weights become {self.every - 1} steps old",
                f"{self.every - 1} or more",
                "Allow more, or give weights more often.",
            )
        if self.command:
            self._check_command()
        if is_launched():
            raise WrongUse(
                self.named,
                "several processes",
                "one that trains",
                "Leave --processes out; the server may have as many devices as it likes.",
            )

    def _check_command(self) -> None:
        try:
            named = _FOLDER in self.command and bool(self.words("", ""))
        except ValueError:
            named = False
        if not named:
            raise WrongUse(
                "--reload-command",
                self.command,
                f"a command with {_FOLDER} in it",
                f"Write it so: --reload-command './load.sh {_FOLDER} {_VERSION}'",
            )
