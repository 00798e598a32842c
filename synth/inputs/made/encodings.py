"""Texts of documents from their bytes, in encodings that are declared or can be told apart."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from synth.core.errors import WrongUse
from synth.core.optional import optional
from synth.inputs.files import encoding_of

# Bytes that are looked at to tell an encoding, and those beyond ASCII that it takes.
_SAMPLE = 256 * 1024
_LEAST = 100
# Windows' code pages of Latin letters, the Western one first: no statistic tells them apart.
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")
# Signs that follow a letter in no text: letters of another code page.
_STRAY = re.compile(
    r"[^\W\d_][^\w\s\x00-\x7f\u2019”“»…–—°]|[^\W\d_][^\w\s\x00-\x7f\u2019][^\W\d_]"
)
# Most capitals behind small letters, as a share of letters, in words of one case.
_MOST_MIXED = 0.02


class Unusable(Exception):
    """Why a document is passed over."""


@dataclass
class Decoder:
    """Reads the bytes of one document.

    Attributes:
        told: the encoding that a user names for what is neither Unicode nor declared; "" for none.
        taken: the encoding that was taken by the bytes alone; "" where none had to be.
    """

    told: str = ""
    taken: str = ""

    def text(self, raw: bytes, named: str = "") -> str:
        """A text in UTF-8, UTF-16 or UTF-32 by its first bytes, else in UTF-8, else in the encoding
        that it names itself, else in the one that the user names, else in the one that its bytes
        show.

        Args:
            raw: the bytes.
            named: the encoding that a page names.

        Raises:
            Unusable: bytes that are no text, or none whose encoding can be told.

        >>> Decoder().text("häuser".encode()), Decoder("koi8-r").text("мир".encode("koi8-r"))
        ('häuser', 'мир')
        """
        marked = encoding_of(raw[:4])
        if marked != "utf-8":
            return raw.decode(marked, "replace")
        if b"\0" in raw[:4096]:
            raise Unusable("bytes that are no text")
        for encoding in ("utf-8", named):
            try:
                return raw.decode(encoding)
            except (UnicodeError, LookupError):
                continue
        if not self.told:
            self.taken = _shown_by(raw)
        try:
            return raw.decode(self.told or self.taken)
        except UnicodeError as error:
            raise Unusable(
                f"bytes that are no {self.told or self.taken}"
            ) from error


def check_encoding(name: str | None, option: str) -> str:
    """A name of an encoding that an option gives, "" for none.

    Raises:
        WrongUse: Python has no such encoding of texts.
    """
    if not name:
        return ""
    try:
        "a".encode(name)
    except LookupError as error:
        raise WrongUse(
            f"{option} {name}",
            "no such encoding",
            "one that Python has",
            "For example windows-1251, koi8-r, shift_jis, gb18030 or euc-kr.",
        ) from error
    return name


def _shown_by(raw: bytes) -> str:
    """The encoding of bytes that declare none.

    Scripts other than Latin are told by charset-normalizer. Latin ones are not: Windows-1252 is
    taken where Windows' other code pages of Latin letters read the same.

    Raises:
        Unusable: it cannot be told.
    """
    if _reads_alike(raw):
        return _LATIN[0]
    detector = optional("charset_normalizer", "documents", "--documents")
    # No character of several bytes holds a line's end.
    sample = raw[:_SAMPLE].rpartition(b"\n")[0] or raw[:_SAMPLE]
    found = detector.from_bytes(sample).best()
    if found is not None and sum(byte > 127 for byte in sample) >= _LEAST:
        text = sample.decode(found.encoding, "replace")
        if _is_of_one_script(text):
            return str(found.encoding)
    guess = f" (perhaps {found.encoding})" if found is not None else ""
    raise Unusable(
        f"no UTF-8, and its encoding cannot be told{guess}; say --encoding NAME or save it as "
        "UTF-8"
    )


def _reads_alike(raw: bytes) -> bool:
    """Whether all of `_LATIN` read one and the same text without stray signs."""
    try:
        texts = {raw.decode(encoding) for encoding in _LATIN}
    except UnicodeError:
        return False
    return len(texts) == 1 and not _STRAY.search(texts.pop())


def _is_of_one_script(text: str) -> bool:
    """Whether letters beyond ASCII are no Latin ones, and capitals stand where words begin."""
    letters = [sign for sign in text if ord(sign) > 127 and sign.isalpha()]
    if not letters:
        return False
    latin = sum("LATIN" in unicodedata.name(sign, "") for sign in letters)
    mixed = sum(
        one.islower() and two.isupper()
        for one, two in pairwise(text)
        if ord(two) > 127
    )
    return latin < len(letters) / 10 and mixed <= _MOST_MIXED * len(letters)
