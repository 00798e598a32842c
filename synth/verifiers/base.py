"""The contract of a verifier: two texts in; true, false, or None where nobody can say."""

from __future__ import annotations

from typing import Any


class Verifier:
    """Base of verifiers of the user's own; those of this room need none, as they are called by
    their own names.

    It holds no state and asks no model: the same two texts always bring the same word.
    """

    def verify(self, answer: Any, gold: Any) -> bool | None:
        """Whether an answer is what the gold says; None where that cannot be known."""
        raise NotImplementedError
