"""What a judge is to those who measure it: a filter that gives scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from synth.core.records import Row, Verdict

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.packs.pack import Pack


class Judge(Protocol):
    """A filter over rows, as `synth.filters.base.Filter` is one."""

    @property
    def name(self) -> str:
        """Its name in packs and on the command line."""

    @property
    def group(self) -> Any:
        """None where it judges each row alone, `draws` where it sees all draws of a seed."""

    @property
    def score(self) -> str:
        """The mark that holds its score."""

    async def verdicts(
        self, rows: Sequence[Row], doors: Doors | None = None
    ) -> Sequence[Verdict]:
        """One verdict a row."""

    def split(
        self, rows: Iterable[Any], *, group: str = "id"
    ) -> tuple[Any, Any]:
        """(kept, dropped)."""


class Critic(Judge, Protocol):
    """A judge that asks a teacher by a pack."""

    @property
    def loaded(self) -> Pack:
        """The pack."""

    @property
    def pack(self) -> Any:
        """Its name."""

    @property
    def teacher(self) -> str:
        """Who is asked."""

    @property
    def fooled(self) -> float:
        """The share of forged rows that it may accept."""

    def calls(self, rows: int) -> Mapping[str, int] | int | float:
        """Calls for so many rows."""
