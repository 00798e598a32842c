"""Whether a quoted span stands in a source."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_ELLIPSIS = re.compile(r"\s*(?:\[?\.\.\.\]?|\[?…\]?)\s*")
_SIGNS = str.maketrans({"“": '"', "”": '"', "„": '"', "\u2019": "'", "\u2018": "'", "\u2013": "-", "\u2014": "-", "\u00ad": None})


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Looks for a quotation word by word; case, white space, kinds of quotation marks and dashes play no part.

    Args:
        ellipsis: whether "..." may stand for words that were left out; the pieces must come in order.

    Example:
        >>> source = "The lamp, which Ann had bought, was never lit."
        >>> Spans().verify("the lamp ... was never lit", source), Spans().verify("the lamp was lit", source), Spans().verify("amp", source)
        (True, False, False)
    """

    ellipsis: bool = True

    def verify(self, span: str, source: str) -> bool:
        """Whether the source has the span, at borders of words."""
        text, at = folded(source), 0
        pieces = _ELLIPSIS.split(span) if self.ellipsis else [span]
        wanted = [found for piece in pieces if (found := folded(piece).strip(" .,;:!?\"'"))]
        for piece in wanted:
            place = re.compile(rf"(?<!\w){re.escape(piece)}(?!\w)").search(text, at)
            if place is None:
                return False
            at = place.end()
        return bool(wanted)


def folded(text: str) -> str:
    """One form for texts that differ in case, white space and typography only."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_SIGNS).casefold().split())
