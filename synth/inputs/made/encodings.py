"""Texts of documents from their bytes, in encodings that are declared or can be told apart."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.core.optional import optional
from synth.inputs.files import encoding_of
from synth.inputs.made.latin_letters import begins_words, latin_readings

# Bytes that are looked at to tell an encoding, and those beyond ASCII that it takes.
_SAMPLE = 256 * 1024
_LEAST = 100


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

    Scripts other than Latin are told by charset-normalizer, and Latin ones by the letters of each
    language.

    Raises:
        Unusable: it cannot be told.
    """
    sample = _beyond_ascii(raw)
    latin = latin_readings(sample)
    if len(latin) == 1:
        return next(iter(latin.values()))
    guesses = [*latin.values()]
    if not latin:
        detector = optional("charset_normalizer", "documents", "--documents")
        found = detector.from_bytes(sample).best()
        if found is not None and _is_of_one_script(sample, found.encoding):
            return str(found.encoding)
        guesses = [] if found is None else [found.encoding]
    guess = f" (perhaps {' or '.join(guesses)})" if guesses else ""
    raise Unusable(
        f"no UTF-8, and its encoding cannot be told{guess}; say --encoding NAME or save it as "
        "UTF-8"
    )


def _beyond_ascii(raw: bytes) -> bytes:
    """Whole lines from the first one on that holds bytes beyond ASCII: a line's end is no part of a
    character of several bytes.
    """
    first = re.search(rb"[\x80-\xff]", raw)
    place = first.start() if first else 0
    begin = raw.rfind(b"\n", 0, place) + 1
    sample = raw[begin : place + _SAMPLE]
    return sample.rpartition(b"\n")[0] or sample


def _is_of_one_script(raw: bytes, encoding: str) -> bool:
    """Whether many letters are beyond ASCII and no Latin ones, and capitals begin words."""
    if sum(byte > 127 for byte in raw) < _LEAST:
        return False
    text = raw.decode(encoding, "replace")
    letters = [sign for sign in text if ord(sign) > 127 and sign.isalpha()]
    if not letters:
        return False
    latin = sum("LATIN" in unicodedata.name(sign, "") for sign in letters)
    return latin < len(letters) / 10 and begins_words(text, len(letters))
