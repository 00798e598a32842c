"""How teachers are called: where they are reached, how fast and how patiently they are asked, for
how much. A run and a filter that is used as a library say it alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from synth.core.errors import WrongUse
from synth.teachers.base import Settings
from synth.teachers.wire.access import (
    Access,
    by_role,
    check_known_role,
    for_role,
)

# Calls in flight at most, unless the user says another number.
AT_ONCE = 64
# Options that are numbers above 0, where they are said.
_ABOVE_ZERO = ("concurrency", "rpm", "tpm", "timeout")
# Those that may be 0, too.
_FROM_ZERO = ("patience", "budget")


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What a user says about calls. A role is the role of a teacher in a run; of a filter that is
    used as a library it is the teacher's own name.

    Attributes:
        seed: sampling seed; draw k asks with seed + k.
        concurrency: calls in flight at most; the gate starts lower and grows while it is used.
            None for 64, and at a server of the user's own for its slots, where it says how many
            it has.
        rpm: requests a minute at most; alone for every teacher, or by role.
        tpm: tokens a minute at most, in and out; alone for every teacher, or by role.
        budget: dollars at most; of a run with earlier ones into the same folder, of a filter for
            one `split`.
        price: `IN,OUT[,CACHED]` dollars per million tokens, alone or by role; goes before the price
            table.
        timeout: seconds for one call.
        patience: seconds for one request at most, from its first fault on, waiting included. A
            server that asks to wait longer stops the run.
        api_base: another endpoint's URL. Alone it is for teachers `openai/MODEL`; by role it serves
            any provider.
        endpoints: many servers of one model `openai/MODEL`, alone or by role: URLs with commas
            between them, or a file or folder that names them and is read again while calls go out.
        api_key_env: the environment variable that holds the key, alone or by role in the same
            sense.
        header: role -> {header name: environment variable that holds its value}; the role "" stands
            for all `openai/MODEL`.
    """

    seed: int | None = None
    concurrency: int | None = None
    rpm: float | Mapping[str, float] | None = None
    tpm: float | Mapping[str, float] | None = None
    budget: float | None = None
    price: str | Mapping[str, str] | None = None
    timeout: float = 120.0
    patience: float = 300.0
    api_base: str | Mapping[str, str] | None = None
    endpoints: str | Mapping[str, str] | None = None
    api_key_env: str | Mapping[str, str] | None = None
    header: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def access(self) -> Access:
        """How teachers are reached, by role."""
        return Access(
            api_base=by_role(self.api_base),
            endpoints=by_role(self.endpoints),
            api_key_env=by_role(self.api_key_env),
            header=self.header,
        )

    @property
    def at_once(self) -> int:
        """Calls in flight at most."""
        return self.concurrency or AT_ONCE

    def limits(self, role: str) -> tuple[float | None, float | None]:
        """(requests, tokens) a minute at most for a role."""
        return for_role(by_role(self.rpm), role), for_role(
            by_role(self.tpm),
            role,
        )

    def said_price(self, role: str) -> str | None:
        """What the user says that a role's tokens cost."""
        return for_role(by_role(self.price), role)

    def settings(self, role: str, teacher: str, **more: Any) -> Settings:
        """How the teacher of a role is reached, with what else its opener knows."""
        return Settings(
            **self.access.reach(role, teacher),
            timeout=self.timeout,
            seed=self.seed or 0,
            role=role,
            **more,
        )

    def check_calls(self, teachers: Mapping[str, str], prefix: str) -> None:
        """Checks everything that was said against role -> PROVIDER/MODEL, before any call.

        Args:
            teachers: all of them.
            prefix: what stands before the name of an option in an error, such as `--`.

        Raises:
            WrongUse: a number out of range, a role that no teacher has, an endpoint or a key that
                cannot be used.
        """
        self._check_numbers(prefix)
        self.access.check(teachers)
        for option in ("rpm", "tpm", "price"):
            for role in by_role(getattr(self, option)):
                check_known_role(f"{prefix}{option}", role, teachers)

    def _check_numbers(self, prefix: str) -> None:
        for option in (*_ABOVE_ZERO, *_FROM_ZERO):
            may_be_zero = option in _FROM_ZERO
            for number in by_role(getattr(self, option)).values():
                # What is no number is neither above nor below.
                if number > 0 or (may_be_zero and number == 0):
                    continue
                wanted = "from 0 on" if may_be_zero else "above 0"
                raise WrongUse(
                    f"{prefix}{option}",
                    f"{number!r}",
                    f"a number {wanted}",
                    "Say one, or leave it out.",
                )
