"""A word is the same word however it is typed, in any script."""

from __future__ import annotations

import re
import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.text.words import (  # fmt: skip
    amount,
    count,
    folded,
    jaccard,
    joined,
    kind,
    pieces,
    plain,
    rouge_1,
    rouge_l,
    terms,
    words,
)

# A few letters, marks, digits and signs of every script that has its own troubles.
SAMPLES = (
    "aZ09_ .,!?'-\n", "äßẞİıŁ\u0131\u0307\u0301\u0323", "ΑσςάᾳΐΏ", "Йёї", "אבשׁ\u05b8\u05c1",
    "\u0627\u0644\u0644\u0647\u0640\u064b\u0651\ufefb\ufe71\u0665\u200c", "कक\u093c\u0958ि्षी१",
    "กาำน้ํ๒\u0e47", "ກຳ່\u0ec8", "កខ្មែ\u17d2", "မြန်\u1039", "བོད\u0f0b\u0f77\u0f0c",
    "한\u1112\u1161\u11abﾡￂ", "東京々〇豈𠮷", "かガゞｶﾞー\u3099", "Ａｚ９，。", "ﬁĳ½²①℃㌔",
    "👍🏽👩\u200d❤\ufe0f🇩🇪\u20e3", "\u200b\u00ad\u2060\ufeff\U000e0101\u034f\u3164",
)  # fmt: skip
SCRIPTS = st.text(st.sampled_from(sorted(set("".join(SAMPLES)))), max_size=30)
TEXTS = SCRIPTS | st.text(max_size=20)
UNSEEN = st.sampled_from(
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f\u0640\U000e0100"
)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_decomposed_letters_are_the_same(text):
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        other = unicodedata.normalize(form, text)
        assert words(other) == words(text)
        assert pieces(other) == pieces(text)


@settings(max_examples=300, deadline=None)
@given(TEXTS, UNSEEN, st.integers(0, 30))
def test_what_has_no_width_changes_nothing(text, unseen, place):
    assert words(text[:place] + unseen + text[place:]) == words(text)


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
)
def test_full_width_is_half_width(text):
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in text)
    assert words(wide) == words(text)
    assert plain(wide) == plain(text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_no_mark_behind_a_letter_is_lost(text):
    form = folded(text)
    letters = [
        a + b
        for a, b in pairwise(form)
        if unicodedata.category(b)[0] == "M" and a.isalnum()
    ]
    said = "".join(words(text))
    assert all(pair in said for pair in letters)
    assert all(sign in said for sign in form if sign.isalnum())


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS)
def test_a_space_between_two_texts_only_adds(one, two):
    assert words(f"{one} {two}") == words(one) + words(two)
    assert pieces(f"{one} {two}") == pieces(one) + pieces(two)


@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_a_regular_expression(text):
    assert words(text) == re.findall(r"\w+", text.casefold())
    assert pieces(text) == text.casefold().split()
    assert terms(pieces(text)) == pieces(text)
    assert count(text) == amount(pieces(text)) == len(text.split())


@given(SCRIPTS, SCRIPTS)
def test_measures_are_shares_and_symmetric(one, two):
    for measure in (jaccard, rouge_1, rouge_l):
        assert 0 <= measure(one, two) == measure(two, one) <= 1
        assert measure(one, one) == (
            1.0 if pieces(one) or measure is jaccard else 0.0
        )


SAME = {
    "zh width": ("共１２个，ＡＢＣ", "共12个,abc"),
    "ja half width": ("ｶﾞｿﾘﾝ", "ガソリン"),
    "ja decomposed": ("か\u3099", "が"),
    "ko jamo": ("\u1112\u1161\u11ab글", "한글"),
    "hi nukta": ("\u0958लम", "क\u093cलम"),
    "ar tatweel": ("مـــرحبا", "مرحبا"),
    "ar presentation forms": ("\ufee3\ufeae\ufea3\ufe92\ufe8e", "مرحبا"),
    "ar digits": ("٢٧٠", "270"),
    "he presentation forms": ("\ufb2aלום", "ש\u05c1לום"),
    "fa joiner": ("می\u200cخواهم", "میخواهم"),
    "th joined": ("น้ำ\u200bแข็ง", "น้ำแข็ง"),
    "vi decomposed": ("Tie\u0302\u0301ng Vie\u0323\u0302t", "Tiếng Việt"),
    "de sharp s": ("STRAẞE", "strasse"),
    "tr dotted": ("İstanbul", "istanbul"),
    "el final sigma": ("ΣΟΦΟΣ", "σοφος"),
    "soft hyphen": ("Donau\u00addampf", "Donaudampf"),
    "ligature": ("e\ufb03cient", "efficient"),
    "variation selector": ("❤\ufe0f", "❤"),
    "mathematical letters": ("𝐱𝟏𝟐", "x12"),
    "bo tsheg": ("བོད\u0f0cཡིག", "བོད\u0f0bཡིག"),
}


@pytest.mark.parametrize("case", SAME)
def test_looks_alike_is_alike(case):
    one, two = SAME[case]
    assert words(one) == words(two) != []


DIFFERENT = {
    "hi vowel signs": ("कि", "की"),
    "ar vowels": ("كَتَبَ", "كُتِبَ"),
    "th tones": ("มา", "ม้า"),
    "vi tones": ("ma", "má"),
    "tr dotless": ("sınır", "sinir"),
    "ja voiced": ("かき", "かぎ"),
    "my vowels": ("မ", "မာ"),
    "tones of skin": ("👍🏽", "👍🏿"),
    "emoji": ("👍", "👎"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_looks_different_is_different(case):
    one, two = DIFFERENT[case]
    assert words(one) != words(two)
    assert words(one)
    assert words(two)


def test_a_mark_stays_with_its_letter_and_scripts_part_themselves():
    assert words("หนังสือ") == ["ห", "นั", "ง", "สื", "อ"]
    assert words("用Python3写代码") == ["用", "python3", "写", "代", "码"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("བཀྲ་ཤིས་བདེ་ལེགས") == ["བཀྲ", "ཤིས", "བདེ", "ལེགས"]
    assert pieces("བཀྲ་ཤིས") == ["བཀྲ", "ཤིས"]
    assert [kind(w) for w in words("a字กかб")] == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_megabyte_takes_seconds_at_most_and_time_grows_with_length(sample):
    text = (
        (sample * (1_000_000 // len(sample.encode()) + 1))
        .encode()[:1_000_000]
        .decode(errors="ignore")
    )
    start = time.process_time()
    words(text)
    assert time.process_time() - start < 4


KINDS = {
    1: "Han Yi Tangut Nushu",
    2: "Thai Lao Myanmar Khmer Tai_Le New_Tai_Lue Tai_Tham Balinese Javanese "
    "Cham Tai_Viet Ahom",
    3: "Hiragana Katakana Bopomofo",
    0: "Latin Greek Cyrillic Arabic Hebrew Devanagari Hangul Ethiopic Georgian "
    "Armenian",
}


@pytest.mark.parametrize("number", KINDS)
def test_the_kind_of_a_letter_is_that_of_its_script(number):
    regex = pytest.importorskip("regex")
    names = "".join(rf"\p{{Script={name}}}" for name in KINDS[number].split())
    script = regex.compile(f"[{names}]")
    letters = [
        chr(code)
        for code in (*range(0x80, 0xD800), *range(0xF900, 0x12000), 0x20000)
        if chr(code).isalpha() and script.match(chr(code))
    ]
    assert len(letters) > 100
    for letter in letters:
        form = folded(letter)
        # The mark U+303B repeats a character and stands in lines of kana.
        if len(form) == 1 and form == letter != "\u303b":
            assert kind(letter) == number, (letter, hex(ord(letter)))
            whole = [letter] * 3 if number else [letter * 3]
            assert words(letter * 3) == whole


def subsequence(left: list[str], right: list[str]) -> int:
    """The longest common subsequence, by trying all of the shorter list's parts."""
    best = 0
    for chosen in range(1 << len(left)):
        part = [word for n, word in enumerate(left) if chosen >> n & 1]
        rest = iter(right)
        if len(part) > best and all(word in rest for word in part):
            best = len(part)
    return best


SHORT = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)


@given(SHORT, SHORT)
def test_rouge_is_its_formula(one, two):
    left, right = one.split(), two.split()
    total = len(left) + len(right)
    shared = sum(min(left.count(word), right.count(word)) for word in "abc")
    longest = subsequence(left, right)
    assert rouge_1(one, two) == (2 * shared / total if total else 0.0)
    assert rouge_l(one, two) == (2 * longest / total if total else 0.0)
    assert rouge_l(one, two) <= rouge_1(one, two)


@given(
    st.text(
        st.sampled_from("ab _1.\u00e9\u0301\u6625\u0e19\u0e31\u3042-"),
        max_size=10,
    )
)
def test_a_place_inside_a_word_is_one_where_no_word_begins(text):
    for at in (0, len(text), -1, len(text) + 1):
        assert joined(text, at) is False
    for at in range(1, len(text)):
        apart = words(text[:at]) + words(text[at:])
        is_mark = unicodedata.combining(text[at]) or text[at] == "\u0e31"
        if not is_mark and text[at - 1] not in "\u0301\u0e31":
            assert joined(text, at) == (words(text) != apart)


@given(TEXTS)
def test_folding_twice_is_folding_once(text):
    once = folded(text)
    assert folded(once) == once
    assert plain(plain(text)) == plain(text)
