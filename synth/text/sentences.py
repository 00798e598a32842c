"""Where a text parts into sentences, in any script."""

from __future__ import annotations

import re

# Ends of sentences: a space follows in most scripts, none in Chinese and Japanese.
_SPACED_ENDS = ".!?;\u061f\u061b\u06d4\u0964\u0965\u1362\u104b"
_BARE_ENDS = "\u3002\uff01\uff1f\uff1b\uff61"
_BETWEEN = re.compile(rf"(?<=[{_SPACED_ENDS}])\s+|(?<=[{_BARE_ENDS}])\s*|\n+")


def sentences(text: str) -> list[str]:
    r"""The sentences of a text, in order, without white space around them and without empty ones.

    >>> sentences("Add the parts. It is 3.5; halve it!\nSo")
    ['Add the parts.', 'It is 3.5;', 'halve it!', 'So']
    >>> len(sentences("雨が降った。川はあふれた。"))
    2
    """
    parts = map(str.strip, _BETWEEN.split(text))
    return [part for part in parts if part]
