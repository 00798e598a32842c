"""Whether a word of a prompt colours a reply that it has nothing to do with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from finetune.measures.base import Measure, by_group, of_variant, reply_of
from synth.core.records import Row
from synth.local_models.scores import HASHING, vectors

# Of two similarities in float32 that are one.
_EQUAL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Leak(Measure):
    """Leak rate: of pairs of prompts with and without a concept (rows with the same `group`, of
    `variant` test and control, with the `concept`), the share in which the reply to the first is
    nearer to the concept than the reply to the second; equally near ones count half. 0.5 is no
    leak (semantic leakage, arXiv:2408.06518, section 3).

    Args:
        model: makes vectors of texts: a folder, a name of the hub, or hashing.

    Example:
        >>> test = {"reply": "a yellow bus", "variant": "test", "concept": "yellow"}
        >>> Leak().of_question([test, {"reply": "a long bus", "variant": "control"}])
        1.0
    """

    model: str = HASHING
    needs_gold: ClassVar[bool] = False

    def units(self, predictions: Sequence[Row]) -> Mapping[bytes, list[Row]]:
        return by_group(predictions, "leak")

    def of_question(self, draws: Sequence[Row]) -> float | None:
        tests = of_variant(draws, "test")
        controls = of_variant(draws, "control")
        if not tests or not controls or not tests[0].get("concept"):
            return None
        texts = [
            str(tests[0]["concept"]),
            reply_of(tests[0]),
            reply_of(controls[0]),
        ]
        concept, test, control = vectors(texts, self.model)
        nearer = float(concept @ test) - float(concept @ control)
        if abs(nearer) < _EQUAL:
            return 0.5
        return float(nearer > 0)
