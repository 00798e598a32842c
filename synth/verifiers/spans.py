"""Whether a quoted span stands in a source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from synth.text.words import joined, plain
from synth.verifiers.base import Verifier

_ELLIPSIS = re.compile(r"\s*(?:\[?\.\.\.\]?|\[?…\]?)\s*")
_SIGNS = str.maketrans(
    {
        "“": '"',
        "”": '"',
        "„": '"',
        "\u2019": "'",
        "\u2018": "'",
        "\u2013": "-",
        "\u2014": "-",
        "\u00ad": None,
    }
)


@dataclass(frozen=True, kw_only=True)
class Spans(Verifier):
    """Looks for a quotation word by word; case, white space, kinds of quotation marks and dashes
    play no part.

    Args:
        ellipsis: whether "..." may stand for words that were left out; the pieces must come in
            order.

    Example:
        >>> source = "The lamp, which Ann had bought, was never lit."
        >>> Spans().verify("the lamp ... was never lit", source)
        True
        >>> Spans().verify("the lamp was lit", source)
        False
        >>> Spans().verify("amp", source)
        False
    """

    ellipsis: bool = True

    def verify(self, span: str, source: str) -> bool:
        """Whether the source has the span, at borders of words."""
        text = folded(source)
        at = 0
        pieces = _ELLIPSIS.split(span) if self.ellipsis else [span]
        wanted = [
            words
            for piece in pieces
            if (words := folded(piece).strip(" .,;:!?\"'"))
        ]
        for piece in wanted:
            at = _end_of(piece, text, at)
            if at < 0:
                return False
        return bool(wanted)


def _end_of(piece: str, text: str, at: int) -> int:
    """Where a piece ends that stands at borders of words, from a place on; -1 where it does not."""
    start = text.find(piece, at)
    while start >= 0:
        end = start + len(piece)
        if not joined(text, start) and not joined(text, end):
            return end
        start = text.find(piece, start + 1)
    return -1


def folded(text: str) -> str:
    """One form for texts that differ in case, white space and typography only."""
    return plain(text.translate(_SIGNS))
