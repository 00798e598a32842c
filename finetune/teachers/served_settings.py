"""How teachers behind servers are reached: settings alone, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.teachers.wire.access import check_url, secret

# Where the words of a server stand, beside what came of them.
FOLDER = "teacher"


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Teachers behind servers that speak OpenAI's protocol.

    Attributes:
        urls: a base each, such as http://127.0.0.1:8000/v1.
        models: the model of each, in the order of `urls`; () asks the servers, of which each must
            then serve one.
        keys: the variable that holds the key of each, "" for none; () sends no key anywhere.
        k: likeliest tokens that are asked for at each place, 1 or more; a server may give fewer.
        concurrency: calls in flight at each server, at most.
        timeout: seconds of one call.
        price: IN,OUT in dollars per million tokens; None for that of the table, if it lists one.
        budget: dollars of all calls of this training at most; None for no cap.
    """

    urls: tuple[str, ...]
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    k: int = 64
    concurrency: int = 16
    timeout: float = 120.0
    price: str | None = None
    budget: float | None = None

    def check(self) -> None:
        """Finds mistakes before anybody is asked.

        Raises:
            WrongUse: a URL, a list or a variable that cannot be used.
        """
        for url in self.urls:
            check_url(url, "--teacher-url")
        for flag, values in (
            ("--teacher-model", self.models),
            ("--teacher-key-env", self.keys),
        ):
            if values and len(values) != len(self.urls):
                raise WrongUse(
                    flag,
                    f"{len(values)} for {len(self.urls)} --teacher-url",
                    "one each",
                    "Name them in the order of the URLs, with commas between them.",
                )
        for name in filter(None, self.keys):
            secret(name, "--teacher-key-env")

    @property
    def named(self) -> str:
        """The setting as it was given."""
        return f"--teacher-url {','.join(self.urls)}"
