"""Letters beyond ASCII of languages that are written in Latin ones, and the encodings of one byte a
letter that hold them.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

# Small letters of everyday texts (Unicode CLDR's main exemplars).
_LETTERS = {
    "Albanian": "çë",
    "Catalan": "àçèéíïòóúü",
    "Croatian": "čćđšž",
    "Czech": "áčďéěíňóřšťúůýž",
    "Danish": "åæéøǻ",
    "Dutch": "áäéëíïóöúü",
    "Estonian": "äõöšüž",
    "Finnish": "äåö",
    "French": "àâæçèéêëîïôùûüÿœ",
    "German": "äößü",
    "Hungarian": "áéíóöőúüű",
    "Icelandic": "áæðéíóöúýþ",
    "Italian": "àèéìíîòóù",
    "Latvian": "āčēģīķļņōŗšūž",
    "Lithuanian": "ąčėęįšūųž",
    "Norwegian": "àåæéòóôø",
    "Polish": "ąćęłńóśźż",
    "Portuguese": "àáâãçéêíòóôõúü",
    "Romanian": "âăîșțşţ",
    "Slovak": "áäčďéíĺľňóôŕšťúýž",
    "Slovenian": "čšž",
    "Spanish": "áéíñóúü",
    "Swedish": "àäåéö",
    "Turkish": "âçğıîöşûü",
}
_WESTERN = (
    *("Catalan", "Danish", "Dutch", "Finnish", "French", "German"),
    *("Icelandic", "Italian", "Norwegian", "Portuguese", "Spanish", "Swedish"),
)
_CENTRAL = (
    *("Albanian", "Croatian", "Czech", "German", "Hungarian", "Polish"),
    *("Romanian", "Slovak", "Slovenian"),
)
_TURKISH = ("German", "Turkish")
_BALTIC = ("Estonian", "German", "Latvian", "Lithuanian")
# Where two read the same, the first is taken.
_ENCODINGS = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "cp1254": _TURKISH,
    "cp1257": _BALTIC,
    "iso8859-15": _WESTERN,
    "iso8859-2": _CENTRAL,
    "mac_roman": _WESTERN,
    "cp850": _WESTERN,
    "cp852": _CENTRAL,
}
_WINDOWS = ("cp1252", "cp1250", "cp1254", "cp1257")
# Letters of names and words of other languages, as a share of those beyond ASCII.
_MOST_FOREIGN = 0.02
# Most capitals behind small letters, as a share of the letters beyond ASCII.
_MOST_MIXED = 0.02
# What stands beside letters in everyday texts: blanks, marks of Spanish and Catalan, signs of
# trade, quotation marks, and dashes.
_MARKS = (
    "\xa0\xad\xaa\xba\xb0\xb7\xa1\xbf\xa7\xa9\xae\u2122\u20ac\xa3\u2022\xab\xbb\u2039\u203a"
    "\u201e\u201c\u201d\u201a\u2018\u2019\u2026\u2013\u2014"
)
# Signs that no such text holds, or holds between two letters: letters of another encoding.
_STRAY = re.compile(
    rf"[^\w\x00-\x7f{_MARKS}]|[^\W\d_][^\w\s\x00-\x7f\xb7\u2019][^\W\d_]"
)
# Marks that writing programs put in the place of what is typed, and where they stand in no text.
# Letters of other encodings have the same bytes; the ellipsis alone tells nothing.
_ELLIPSIS = "\u2026"
_TYPED = frozenset(
    "\u2018\u2019\u201c\u201d\u2013\u2014\u2022\u20ac\u2122\u2026"
)
_MISPLACED = re.compile(
    r"\w[\u201c\u2018]|(?:^|\s)\u201d(?=\w)"
    r"|[^\W\d_][^\w\s\x00-\x7f\u2019\u2013\u2014][^\W\d_]"
)


def latin_readings(raw: bytes) -> dict[str, str]:
    """Texts of a language that bytes may stand for: text -> the first encoding that reads it."""
    readings: dict[str, str] = {}
    for encoding, languages in _ENCODINGS.items():
        try:
            text = raw.decode(encoding)
        except UnicodeError:
            continue
        if _is_of_one(text, languages):
            readings.setdefault(text, encoding)
    western = raw.decode("cp1252", "replace")
    if western in readings and (_is_english(western) or _is_shared(raw)):
        return {western: "cp1252"}
    return readings


def _is_shared(raw: bytes) -> bool:
    """Whether all of Windows' Latin code pages read the same."""
    return len({raw.decode(one, "replace") for one in _WINDOWS}) == 1


def _is_english(text: str) -> bool:
    """Whether nothing but typographic marks is beyond ASCII, each where it belongs."""
    beyond = {sign for sign in text if sign > "\x7f"}
    return (
        beyond <= _TYPED
        and beyond != {_ELLIPSIS}
        and not _MISPLACED.search(text)
    )


def _is_of_one(text: str, languages: tuple[str, ...]) -> bool:
    """Whether a text may be of one of the languages."""
    if _STRAY.search(text):
        return False
    counts = Counter(filter(_is_beyond_ascii, text.lower()))
    if not begins_words(text, counts.total()):
        return False
    most = _MOST_FOREIGN * counts.total()
    return any(_foreign(counts, name) <= most for name in languages)


def _foreign(counts: Counter[str], language: str) -> int:
    """How many letters are none of a language's."""
    others = counts.keys() - {*_LETTERS[language]}
    return sum(counts[letter] for letter in others)


def _is_beyond_ascii(sign: str) -> bool:
    return sign > "\x7f" and sign.isalpha()


def begins_words(text: str, letters: int) -> bool:
    """Whether capitals stand where words begin: next to none behind a small letter, one of both
    beyond ASCII.

    Args:
        text: read in some encoding.
        letters: how many of its letters are beyond ASCII.
    """
    mixed = 0
    for one, two in pairwise(text):
        if one > "\x7f" or two > "\x7f":
            mixed += one.islower() and two.isupper()
    return mixed <= _MOST_MIXED * letters
