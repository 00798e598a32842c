"""Whether a text follows from another, by a natural language inference model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from synth.local_models.scores import entailment
from synth.verifiers.base import Verifier


@dataclass(frozen=True, kw_only=True)
class Entailment(Verifier):
    """Asks a sequence classification model whose labels say "entailment" (and "contradiction").

    Args:
        model: a folder or a name of the hub.
        direction: `forward` (source entails text), `backward`, or `both`.
        least: least probability of entailment (0 to 1) that counts as "follows".
        unsure: below this probability it does not follow; between the two it is unknown.

    Example:
        >>> Entailment(model="cross-encoder/nli-deberta-v3-small").shares([])
        []
    """

    model: str
    direction: Literal["forward", "backward", "both"] = "forward"
    least: float = 0.75
    unsure: float = 0.5

    def verify(self, text: str, source: str) -> bool | None:
        """True where the text follows, False where it does not, None where the model is unsure.

        Raises:
            WrongUse: no such model, or one without a label "entailment".
        """
        yes, _ = self.shares([(source, text)])[0]
        if yes >= self.least:
            return True
        return None if yes >= self.unsure else False

    def shares(
        self, pairs: Sequence[tuple[str, str]]
    ) -> list[tuple[float, float]]:
        """(probability of entailment, of contradiction) of each (source, text); of the worse
        direction where both are asked for.
        """
        if not pairs:
            return []
        forward = (
            entailment(pairs, self.model)
            if self.direction != "backward"
            else []
        )
        backward = (
            entailment([(text, source) for source, text in pairs], self.model)
            if self.direction != "forward"
            else []
        )
        if forward and backward:
            return [
                min(ways, key=lambda way: way[0])
                for ways in zip(forward, backward, strict=True)
            ]
        return forward or backward
