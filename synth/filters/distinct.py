"""Keeps draws of a seed that go different ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import GroupFilter
from synth.filters.near_duplicate import by_length
from synth.text.words import bag
from synth.verifiers.arithmetic_steps import ArithmeticSteps


@dataclass(frozen=True, kw_only=True)
class Distinct(GroupFilter):
    """Drops a draw that repeats a kept draw of its seed: the same list of equations, or nearly the
    same words.

    By equations as in rejection sampling fine-tuning (Yuan et al., arXiv:2308.01825), by words as
    in DPO-ST (Wang et al., arXiv:2407.18248: Jaccard above 0.7). Of alike draws the longest stays.

    Sees: all draws of one seed. Costs: nothing.

    Args:
        field: the text that is compared; the row's raw reply where it lacks the field.
        by: `words` or `equations`; draws without an equation are compared by words.
        similarity: for words, draws of a Jaccard similarity above this are alike (0 to 1).

    Reasons:
        same_way: a kept draw goes the same way.

    Marks: `of` (place of the kept draw among the draws).

    Example:
        >>> rows = [
        ...     {"question": "q", "rationale": r}
        ...     for r in ("2 + 3 = 5", "so 2 + 3 = 5", "3 + 2 = 5")
        ... ]
        >>> kept, dropped = Distinct(by="equations").split(rows)
        >>> [row["rationale"] for row in kept]
        ['so 2 + 3 = 5', '3 + 2 = 5']
    """

    field: str = "rationale"
    by: Literal["words", "equations"] = "words"
    similarity: float = 0.7

    reasons: ClassVar[dict[str, str]] = {
        "same_way": "a kept draw goes the same way"
    }

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        texts = [field_text(row, self.field) for row in rows]
        ways = [self._way(text) for text in texts]
        different: list[int] = []
        verdicts = [Verdict(True)] * len(rows)
        for index in by_length(texts):
            of = next(
                (
                    other
                    for other in different
                    if self._alike(ways[other], ways[index])
                ),
                None,
            )
            if of is None:
                different.append(index)
            else:
                verdicts[index] = Verdict(False, "same_way", {"of": of})
        return verdicts

    def _way(self, text: str) -> tuple[str, ...] | frozenset[str]:
        equations = (
            tuple(
                "".join(e.text.split())
                for e in ArithmeticSteps().equations(text)
            )
            if self.by == "equations"
            else ()
        )
        return equations or frozenset(bag(text))

    def _alike(
        self,
        one: tuple[str, ...] | frozenset[str],
        two: tuple[str, ...] | frozenset[str],
    ) -> bool:
        if isinstance(one, tuple) or isinstance(two, tuple):
            return one == two
        if one | two:
            return len(one & two) > self.similarity * len(one | two)
        return True
