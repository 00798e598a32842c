"""A label is read where it is given, in any script, and never where a reply is in two minds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.parsers.tagged import Tagged
from synth.replies.labels import label_in
from tests.tables import cells, table

ALLOWED = ["yes", "no", "not sure", "K", "M", "tie"]
FRAMES = cells(
    r"""
'{}' | ' {}. ' | '**{}**' | '"{}"' | '`{}`!' | '{}, because it is so.' | 'The answer is {}.'
'I say {} as it adds up' | '{}.\nIt adds up.' | '({})' | 'Verdict: {}' | '{} - it is so'
"""
)


@given(
    st.sampled_from(ALLOWED),
    st.sampled_from(FRAMES),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_every_frame_gives_its_label(label, frame, case):
    assert label_in(frame.format(case(label)), ALLOWED) == label.casefold()


@given(
    st.lists(st.sampled_from(ALLOWED), min_size=2, max_size=2, unique=True),
    st.sampled_from([" or ", "/", " and ", ", ", " to ", " | "]),
)
def test_two_labels_side_by_side_are_none(labels, between):
    assert label_in(between.join(labels), ALLOWED) is None


@given(
    st.sampled_from(["yes", "no", "tie"]),
    st.sampled_from(
        ["not", "never", "neither", "hardly", "isn't", "unclear:", "without"]
    ),
)
def test_a_denied_label_is_none(label, denial):
    allowed = ["yes", "no", "tie"]
    assert label_in(f"It is {denial} {label}.", allowed) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *table(
            r"""
'4/5' | '4'
'4 out of 5' | '4'
'Grade: 4 / 5.' | '4'
'5' | '5'
'3 to 4' | None
'4.5' | None
'4,5' | None
'Grade: 4.5.' | None
'4-6' | None
'4:1' | None
'4. It is 5.' | '4'
'4 - fine' | '4'
'14' | None
'' | None
'four' | None
'a b c d e f 4' | None
'It is fine. 4' | None
"""
        ),
        ("4" + "x" * 400, None),
    ],
)
def test_grades_on_a_scale(text, label):
    assert label_in(text, ["1", "2", "3", "4", "5"]) == label


SCRIPTS = {
    "tr": ["\u0130Y\u0130", "K\u00d6T\u00dc", "ORTA"],
    "de": ["gro\u00df", "klein"],
    "el": ["\u03a3\u039f\u03a6\u039f\u03a3", "\u0386\u039b\u039b\u039f"],
    "ru": ["\u0434\u0430", "\u043d\u0435\u0442"],
    "ja": ["\u306f\u3044", "\u3044\u3044\u3048"],
    "ar": ["\u0646\u0639\u0645", "\u0644\u0627"],
    "hi": ["\u0939\u093e\u0901", "\u0928\u0939\u0940\u0902"],
    "signs": ["C++", "C#", "a.b", "(x)"],
    "odd": ["\u212aelvin", "\u017fure", "\ufb01ne"],
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_label_is_one_of_the_allowed_ones_in_any_script(script):
    allowed = SCRIPTS[script]
    folded = [label.casefold() for label in allowed]
    parser = Tagged(tags=("v",), allow={"v": "labels"})
    for label in allowed:
        for said in (label, label.lower(), label.upper(), f"{label}."):
            found = label_in(said, allowed)
            assert found is None or found in folded, said
            if found is None:
                continue
            fields = parser.parse(f"<v>{said}</v>", {"labels": allowed})
            assert fields == {"v": label}
        assert label_in(label, allowed) == label.casefold()


def test_the_dotted_i_of_turkish_is_read_and_no_other_sign():
    labels = ["\u0130Y\u0130", "K\u00d6T\u00dc"]
    folded = labels[0].casefold()
    for said in ("iyi", "\u0130yi.", "The answer is iyi"):
        assert label_in(said, labels) == folded
    assert label_in("k\u00f6t\u00fc", labels) == labels[1].casefold()
    assert label_in("iyi or k\u00f6t\u00fc", labels) is None
    both = ["\u0131y\u0131", "iyi"]
    assert [label_in(f"I say {label}", both) for label in both] == both


@given(
    st.lists(
        st.text(min_size=1, max_size=5).filter(str.strip),
        min_size=1,
        max_size=4,
    ),
    st.text(max_size=20),
)
def test_any_text_gives_an_allowed_label_or_none(allowed, text):
    found = label_in(text, allowed)
    assert found is None or found in {label.casefold() for label in allowed}


@given(st.sampled_from(ALLOWED), st.randoms())
def test_the_order_of_the_allowed_labels_plays_no_part(label, random):
    turned = ALLOWED[:]
    random.shuffle(turned)
    for frame in FRAMES:
        text = frame.format(label)
        assert label_in(text, turned) == label_in(text, ALLOWED)


def test_the_longest_label_counts():
    assert label_in("not sure", ["not", "not sure", "sure"]) == "not sure"
    assert label_in("very good.", ["good", "very good"]) == "very good"
    assert label_in("It is very good.", ["good", "very good"]) == "very good"
    assert label_in("goodness", ["good"]) is None
    assert label_in("good", []) is None


@pytest.mark.parametrize(
    "text",
    [
        "mostly false",
        "half true",
        "partially true.",
        "It is almost true",
        "true (mostly)",
        "true, but only in part",
        "true-ish",
        "far from true",
    ],
)
def test_a_label_by_halves_is_none(text):
    assert label_in(text, ["true", "false"]) is None
    # Unless it is one that may be given.
    allowed = ["true", "false", "mostly false", "half true"]
    assert label_in(text, allowed) == (text if text in allowed else None)


@pytest.mark.parametrize(
    "text",
    [
        "almost certainly true",
        "True, partly because the date fits",
        "true - mostly since the river rose",
    ],
)
def test_what_halves_the_reason_halves_no_label(text):
    assert label_in(text, ["true", "false"]) == "true"
