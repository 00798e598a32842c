"""Words of texts in any script, and how much two texts share: ROUGE and Jaccard over them.

One form comes first (`folded`): compatibility forms, width, case, decomposition, signs without
width and digits of other scripts play no part. Then a text is cut:

- Where spaces part words, a word is a run of letters, digits and underscores with their marks.
- Where they do not (Chinese, Japanese, Thai, Lao, Khmer, Burmese, ...), every character with its
  marks is a word: a rule that needs no dictionary and is never wrong twice in different ways.
- An emoji is a word.

`words` leaves signs out; `pieces` keeps them, for texts in which "2 + 3" is not "2 - 3".
Three characters of Chinese or Japanese say about what two English words do, three of Thai, Lao,
Khmer or Burmese what one does: `amount` and `reach` count with that, so that a threshold in words
means much the same in every script.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from synth.core.patterns import lazy_pattern

_WORD = lazy_pattern(r"\w+")
_PIECE = lazy_pattern(r"\S+")
# Unicode's Default_Ignorable_Code_Point (nothing is seen of them), and Arabic's stretching sign.
_UNSEEN = lazy_pattern(
    "[\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_OTHER_DIGIT = lazy_pattern(r"(?![0-9])\d")
# Scripts that part no words. Those of whole syllables: Han, Yi, Tangut, Nushu.
_DENSE = (
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA000, 0xA48C),
    (0xF900, 0xFAFF),
    (0x16FE0, 0x18DFF),
    (0x1B170, 0x1B2FF),
    (0x20000, 0x3FFFF),
)
# Spelt ones: Thai and Lao, Burmese, Khmer, Tai Le, New Tai Lue, Tai Tham, Balinese, Javanese,
# Cham, Tai Viet, Ahom.
_SPELT = (
    (0x0E01, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19DF),
    (0x1A20, 0x1AAF),
    (0x1B00, 0x1B7F),
    (0xA980, 0xA9FF),
    (0xAA00, 0xAADF),
    (0x11700, 0x1174F),
)
# Kana and bopomofo.
_KANA = (
    (0x3031, 0x3035),
    (0x303B, 0x303C),
    (0x3041, 0x30FF),
    (0x3105, 0x312F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x1AFF0, 0x1B16F),
)
# Tibetan's sign between syllables.
_TSHEG = "\u0f0b"
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff"
_TONES = "\U0001f3fb-\U0001f3ff"
# No letter but Han stands beyond.
_LAST = 0x20000
_BEYOND = "\U00010000"


class _Script(NamedTuple):
    """What finds words, pieces and kinds of characters beyond ASCII."""

    words: re.Pattern[str]
    pieces: re.Pattern[str]
    kinds: tuple[re.Pattern[str], ...]


@cache
def _script() -> _Script:
    """Made where the first text beyond ASCII is read (some 100 ms), with this Python's Unicode."""
    kinds = [_ranges(ranges) for ranges in (_DENSE, _SPELT, _KANA)]
    bare = "".join(kinds)
    parted = re.compile(f"[{bare}]")
    signs = [chr(code) for code in range(_LAST)]
    marks = [sign for sign in signs if unicodedata.category(sign)[0] == "M"]
    letters = [
        sign
        for sign in signs
        if sign == "_" or (sign.isalnum() and not parted.match(sign))
    ]
    mark = _one_of(marks)
    tone = f"[{_TONES}]"
    # No mark is a letter, so that none begins a word.
    alone = rf"(?=\w)[{bare}]{mark}*"
    begin = _one_of(letters)
    inside = _one_of(sorted(letters + marks), "+")
    word = rf"{begin}{inside}*"
    emoji = rf"[{_EMOJI}](?:{tone}|{mark})*"
    # Of pieces: what white space parts, and a sign beside a character that is a word by itself.
    run = rf"[^\s{_TSHEG}{bare}{_EMOJI}]+"
    sign = rf"[^\s{_TSHEG}]"
    return _Script(
        words=re.compile(rf"{alone}|{word}|{emoji}"),
        pieces=re.compile(rf"{alone}|{emoji}|{run}|{sign}"),
        kinds=tuple(re.compile(f"[{ranges}]") for ranges in kinds),
    )


def _ranges(pairs: Sequence[tuple[int, int]]) -> str:
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in pairs)


def _one_of(signs: Sequence[str], times: str = "") -> str:
    """A pattern of one of these signs, which come in order.

    A class of characters is a table in the basic plane, a list of ranges beyond it: the second one
    is looked at only where a character stands there, which is ten times faster.
    """
    low = _class(sign for sign in signs if sign < _BEYOND)
    high = _class(sign for sign in signs if sign >= _BEYOND)
    beyond = rf"(?=[{_BEYOND}-\U0010ffff])[{high}]"
    return rf"(?:[{low}]{times}|{beyond})"


def _class(signs: Iterable[str]) -> str:
    """The inside of a character class with these signs, which come in order."""
    runs: list[list[int]] = []
    for code in map(ord, signs):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return _ranges([(first, last) for first, last in runs])


def folded(text: str) -> str:
    r"""One form of texts that look alike but for case.

    NFKC (width, ligatures, presentation forms, decomposed letters), without what has no width of
    its own (joiners, soft hyphens, variation selectors, tatweel), in small letters, digits of all
    scripts as ASCII's. Turkish's dotted I is i; its dotless i stays another letter.

    >>> folded("\uff33tra\u00dfe \ufb01nd\u00aden \u0663")
    'strasse finden 3'
    """
    if text.isascii():
        return text.casefold()
    text = unicodedata.normalize("NFKC", text)
    seen = _UNSEEN.sub("", text)
    if seen != text:
        # What stood apart may be one letter now.
        text = unicodedata.normalize("NFKC", seen)
    text = unicodedata.normalize("NFKC", text.casefold())
    text = text.replace("i\u0307", "i")
    if _OTHER_DIGIT.search(text):
        text = _OTHER_DIGIT.sub(_ascii_digit, text)
    return text


def _ascii_digit(match: re.Match[str]) -> str:
    return str(unicodedata.decimal(match[0]))


def joined(text: str, at: int) -> bool:
    """Whether a place is inside a word: a letter on both sides that spaces would part, or a mark.

    >>> [joined("amp", 1), joined("a b", 1), joined("住北京", 1), joined("นั", 1)]
    [True, False, False, True]
    """
    if not 0 < at < len(text):
        return False
    if text.isascii():
        return _WORD.fullmatch(text, at - 1, at + 1) is not None
    if unicodedata.category(text[at])[0] == "M":
        return True
    # A mark belongs to what is before it.
    start = at - 1
    while start and unicodedata.category(text[start])[0] == "M":
        start -= 1
    sides = (text[start], text[at])
    return all(_WORD.match(sign) and not kind(sign) for sign in sides)


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order, without signs.

    >>> words("A train, 270 miles!"), words("Go東京 हिन्दी 👍🏽")
    (['a', 'train', '270', 'miles'], ['go', '東', '京', 'हिन्दी', '👍🏽'])
    """
    if text.isascii():
        return _WORD.findall(text.casefold())
    return _script().words.findall(folded(text))


def pieces(text: str) -> list[str]:
    """Words with the signs that stand beside them, in order: what white space parts.

    >>> pieces("So 2 + 3 = 5."), pieces("共5个。")
    (['so', '2', '+', '3', '=', '5.'], ['共', '5', '个', '。'])
    """
    if text.isascii():
        return text.casefold().split()
    return _script().pieces.findall(folded(text))


def parted(text: str) -> list[str]:
    r"""The pieces of a text as they stand there, each behind what parts it from the one before: the
    even places hold what stands between, and all of them together are the text.

    >>> parted("So 2 +\n3"), parted("共5个")
    (['', 'So', ' ', '2', ' ', '+', '\n', '3', ''], ['', '共', '', '5', '', '个', ''])
    """
    pattern = _PIECE
    if not text.isascii():
        pattern = _script().pieces
    cut = []
    end = 0
    for match in pattern.finditer(text):
        between = text[end : match.start()]
        cut.append(between)
        cut.append(match[0])
        end = match.end()
    cut.append(text[end:])
    return cut


def plain(value: Any) -> str:
    """One form for texts that differ in case, Unicode form and white space only.

    >>> plain(" The  Light ")
    'the light'
    """
    return " ".join(folded(str(value)).split())


def kind(word: str) -> int:
    """0 for a word between spaces, 1 for a Chinese character, 2 for one of Thai and kin, 3 for
    kana.

    >>> [kind(word) for word in ("word", "字", "ก", "か")]
    [0, 1, 2, 3]
    """
    if word.isascii():
        return 0
    for number, pattern in enumerate(_script().kinds, 1):
        if pattern.match(word):
            return number
    return 0


def worth(n: int) -> tuple[int, int, int, int]:
    """How many words of each `kind` say what n words between spaces do.

    >>> worth(2), worth(13)
    ((2, 3, 6, 3), (13, 20, 39, 20))
    """
    dense = (3 * n + 1) // 2
    return n, dense, 3 * n, dense


def amount(words: Sequence[str]) -> int:
    """How many words between spaces say as much, rounded up.

    >>> amount(["two", "words"]), amount(list("東京都"))
    (2, 2)
    """
    kinds = Counter(map(kind, words))
    # In sixths of a word: 6 for a word, 4 for a character or kana, 2 for a spelt one.
    sixths = 6 * kinds[0]
    sixths += 4 * (kinds[1] + kinds[3])
    sixths += 2 * kinds[2]
    return -(-sixths // 6)


def count(text: str) -> int:
    """`amount` of the pieces of a text: its length in words.

    >>> count("It is 4."), count("答案是四。")
    (3, 3)
    """
    if text.isascii():
        return len(text.split())
    counted = [piece for piece in pieces(text) if _counts_as_word(piece)]
    return amount(counted)


def _counts_as_word(piece: str) -> bool:
    """Whether a piece is more than a sign that has no space before it in its script."""
    if piece.isascii():
        return True
    return _script().words.search(piece) is not None


def runs(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of words that are worth n, by the kind of their first one.

    >>> runs(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    if all(map(str.isascii, words)):
        return [
            tuple(words[start : start + n])
            for start in range(len(words) - n + 1)
        ]
    lengths = worth(n)
    ends = (start + lengths[kind(word)] for start, word in enumerate(words))
    return [
        tuple(words[start:end])
        for start, end in enumerate(ends)
        if end <= len(words)
    ]


def first(words: Sequence[str], n: int) -> list[str]:
    """The first words that are worth n, or all of them.

    >>> first(["a", "b", "c"], 2)
    ['a', 'b']
    """
    if not words:
        return []
    length = worth(n)[kind(words[0])]
    return list(words[:length])


def terms(words: Sequence[str]) -> list[str]:
    """What counts where order does not: words, and pairs of neighbours that are spelt or kana.

    A lone letter of such a script says as little as a letter of ours does.

    >>> terms(["go", "東", "京", "タ", "ワ", "ー"])
    ['go', '東', '京', 'タワ', 'ワー']
    """
    if all(map(str.isascii, words)):
        return list(words)
    # 2 and 3 are the kinds that say little alone.
    little = [False, *(kind(word) > 1 for word in words), False]
    index_terms: list[str] = []
    for number, word in enumerate(words, 1):
        if little[number] and little[number + 1]:
            index_terms.append(word + words[number])
        elif not (little[number] and little[number - 1]):
            index_terms.append(word)
    return index_terms


# Endings of English plurals, each with what must not stand before and what comes in its place.
_PLURALS = (
    ("ies", ("eies", "aies"), "y"),
    ("es", ("aes", "ees", "oes"), "e"),
    ("s", ("us", "ss"), ""),
)


def singular(word: str) -> str:
    """An English word in small letters without the ending of a plural; the first rule that fits is
    the only one.

    Source: Harman, How effective is suffixing?, JASIS 42(1), 1991 (the S stemmer). It knows no
    other language and no other plural: a word that merely ends so loses its ending, too.

    >>> [singular(word) for word in ("banks", "cities", "scales", "bus", "glass", "heroes")]
    ['bank', 'city', 'scale', 'bus', 'glass', 'heroe']
    """
    for ending, others, put in _PLURALS:
        if word.endswith(ending) and not word.endswith(others):
            return word[: -len(ending)] + put
    return word


def bag(text: str) -> list[str]:
    """`terms` of the pieces of a text.

    >>> bag("So it is."), bag("タワー")
    (['so', 'it', 'is.'], ['タワ', 'ワー'])
    """
    if text.isascii():
        return text.casefold().split()
    return terms(pieces(text))


def jaccard(one: str, two: str) -> float:
    """Shared words of two texts as a share of all of them, 0 to 1.

    >>> jaccard("a b c", "b c d"), jaccard("", "")
    (0.5, 1.0)
    """
    left = set(bag(one))
    right = set(bag(two))
    return jaccard_of(left, right)


def jaccard_of(
    one: set[str] | frozenset[str], two: set[str] | frozenset[str]
) -> float:
    """What two sets share of all they hold, 0 to 1; two empty ones are alike."""
    union = one | two
    if not union:
        return 1.0
    return len(one & two) / len(union)


def rouge_1(one: str, two: str) -> float:
    """F measure of shared words (Lin 2004), 0 to 1.

    >>> rouge_1("the cat sat", "the cat lay"), rouge_1("a b", "c d")
    (0.6666666666666666, 0.0)
    """
    left = Counter(bag(one))
    right = Counter(bag(two))
    total = left.total() + right.total()
    if not total:
        return 0.0
    shared = (left & right).total()
    return 2 * shared / total


def rouge_l(one: str, two: str) -> float:
    """F measure of the longest common subsequence (Lin 2004), 0 to 1.

    >>> rouge_l("the cat sat down", "the cat lay down"), rouge_l("a b", "c d")
    (0.75, 0.0)
    """
    left = bag(one)
    right = bag(two)
    if not left or not right:
        return 0.0
    shared = common(left, right)
    return 2 * shared / (len(left) + len(right))


def common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    # Of the words so far and the first `column` ones of `right`: one row of the table at a time.
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        longest = 0
        for column, other in enumerate(right, 1):
            above = row[column]
            if word == other:
                longest = diagonal + 1
            elif above > longest:
                longest = above
            row[column] = longest
            diagonal = above
    return row[-1]
