"""Texts of which each is unlike all before it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Literal

from synth.text.words import bag, jaccard, rouge_l

Likeness = Literal["jaccard", "rouge_l"]
_LIKENESS: Mapping[str, Callable[[str, str], float]] = {
    "jaccard": jaccard,
    "rouge_l": rouge_l,
}

_ROUNDING = 1e-6


class Novelty:
    """Takes texts in turn, and says of each whether it is a new one.

    Args:
        near: likeness, above 0 and at most 1, from which on two texts are the same; None: only
            equal ones are.
        likeness: `jaccard`, the share of words that two texts have in common, or `rouge_l`, the F
            measure of their longest common subsequence of words.

    Example:
        >>> novelty = Novelty(0.7, "rouge_l")
        >>> [novelty.admit(text) for text in ("the cat sat", "a dog ran", "the cat sat down")]
        [True, True, False]
    """

    def __init__(
        self, near: float | None = None, likeness: Likeness = "jaccard"
    ) -> None:
        self.near = near
        self.likeness = likeness
        self._seen: set[str] = set()
        self._texts: list[str] = []
        self._sizes: list[int] = []
        # Token -> numbers of the texts that have it.
        self._texts_with: dict[tuple[str, int], list[int]] = defaultdict(list)

    def admit(self, text: str) -> bool:
        """Whether a text is new; a new one is held against those that follow."""
        if text in self._seen:
            return False
        if self.near is not None and not self._is_unlike(text, self.near):
            return False
        self._seen.add(text)
        return True

    def _tokens(self, text: str) -> set[tuple[str, int]]:
        """The words, each with its number among equal ones where repetitions count."""
        if self.likeness == "jaccard":
            return {(word, 0) for word in bag(text)}
        counts = Counter(bag(text))
        return {
            (word, number)
            for word, count in counts.items()
            for number in range(count)
        }

    def _is_unlike(self, text: str, near: float) -> bool:
        """Whether no earlier text is so like this one; it is held against later ones then."""
        tokens = self._tokens(text)
        alike = _LIKENESS[self.likeness]
        for number in self._candidates(tokens, near):
            other = self._texts[number]
            if alike(text, other) >= near:
                return False
        number = len(self._texts)
        for token in tokens:
            self._texts_with[token].append(number)
        self._texts.append(text)
        self._sizes.append(len(tokens))
        return True

    def _candidates(
        self, tokens: set[tuple[str, int]], near: float
    ) -> list[int]:
        """Numbers of the texts that may be so like one with these tokens."""
        if not tokens:
            # It shares no word with any text, and may be like those without words.
            return [n for n, size in enumerate(self._sizes) if not size]
        shared = Counter[int]()
        for token in tokens:
            numbers = self._texts_with.get(token, ())
            shared.update(numbers)
        candidates = []
        for number, count in shared.items():
            both = len(tokens) + self._sizes[number]
            # Neither measure is above what shared words in any order come to, but for rounding.
            if 2 * count >= near * both - _ROUNDING:
                candidates.append(number)
        return candidates
