"""The contract of a verifier: two texts in; true, false, or None where nobody can say."""

from __future__ import annotations

from typing import Any, ClassVar


class Verifier:
    """Base of verifiers that compare a text with what it is held against.

    It holds no state and asks no teacher: the same two texts always bring the same verdict.
    """

    room: ClassVar[str] = "synth.verifiers"

    def verify(self, answer: Any, gold: Any) -> bool | None:
        """Whether an answer is what the gold says; None where that cannot be known.

        The filter `verified` hands over two texts.
        """
        raise NotImplementedError
