"""Keys and personal numbers are found by pattern and check digit, and never written down again."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.filters.pii import Pii, iban, luhn

FOUND = {
    "secret": [
        "sk-proj-" + "a1" * 15, "sk-ant-" + "b2" * 15, "ghp_" + "c" * 36, "hf_" + "d" * 34, "AIza" + "e" * 35, "xoxb-" + "1234567890-abc", "glpat-" + "f" * 20,
        "-----BEGIN RSA PRIVATE KEY-----", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeK", "sk_live_" + "g" * 24, "AKIA" + "Z" * 16,
    ],
    "password": ["password: hunter2hunter", 'api_key = "abc123def456"'],
    "email": ["ann.smith+x@mail.co.uk", "Write to <tom@firm.de>."],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "3782 822463 10005"],
    "phone": ["+49 30 123456 78", "(212) 555-0187", "+1-202-555-0143"],
    "address": ["8.8.8.8"],
    "us_ssn": ["536-22-8726"],
}  # fmt: skip
CLEAN = [
    "3 + 4 = 7", "1,234,567 people", "12345678901234567890", "2024-03-05", "10.0.0.1 and 192.168.1.1", "version 1.2.3.4000", "4111 1111 1111 1112", "me@example.com",
    "the password is long", "password: {password}", "a@b", "f(x) = 3.14159265358979", "0000 0000 0000 0000", "task-force-one-two-three-four-five", "call 911", "GB83 WEST 1234 5698 7654 32",
    "4/5 + 2/3 = 22/15", "(3) 4-5", "1-2-3-4-5-6-7-8-9", "sk-short",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "text"),
    [(kind, text) for kind, texts in FOUND.items() for text in texts],
)
def test_each_kind_is_found(kind, text):
    verdict = Pii().judge({"rationale": f"So we use {text} here."})
    assert kind in verdict.marks["kinds"]
    assert text not in str(verdict)
    assert verdict.reason == (
        "secret" if kind in ("secret", "password") else "personal"
    )


@pytest.mark.parametrize("text", CLEAN)
def test_numbers_of_other_kinds_stay(text):
    assert Pii().judge({"rationale": text, "reply": text}).keep


def test_fields_and_kinds_can_be_chosen():
    row = {"question": "ann@mail.org", "rationale": "8.8.8.8"}
    assert Pii(fields=["rationale"], kinds=["email"]).judge(row).keep
    assert not Pii(fields=["question"], kinds=["email"]).judge(row).keep
    with pytest.raises(ValueError, match="'mail'"):
        Pii(kinds=["mail"])


def test_hostile_texts_cost_little():
    started = time.process_time()
    for text in (
        "a@" * 50_000,
        "1" * 200_000,
        "1 " * 100_000,
        "AA11 " * 40_000,
        "eyJ" + "a" * 200_000,
        "+1 " * 60_000,
        "1." * 100_000,
        "password:" * 20_000,
        "(" * 100_000,
        "a." * 90_000 + "@",
    ):
        Pii().judge({"reply": text})
    assert time.process_time() - started < 6


@pytest.mark.parametrize(
    "spec",
    ["pii:fields=text", "pii:kinds=email", "pii:fields=text,kinds=email"],
)
def test_one_name_is_a_list_of_one(spec):
    part = registry.build("synth.filters", spec)
    assert part.judge({"text": "Write to ann@mail.org"}).reason == "personal"
    assert part.judge({"text": "Write to Ann"}).keep


@pytest.mark.parametrize(
    "value",
    [
        {"mail": "ann@mail.org"},
        {"of": {"Ann": ["ann@mail.org"]}},
        [{"mail": "ann@mail.org"}],
        ("ann@mail.org",),
        {"ann@mail.org": 1},
    ],
)
def test_texts_inside_of_lists_and_mappings_are_looked_at(value):
    verdict = Pii().judge({"id": "1", "contact": value})
    assert verdict.marks == {"kinds": ["email"], "count": 1}
    assert Pii(fields=["contact"]).judge({"contact": value}).keep is False


@given(st.text("0123456789", min_size=1, max_size=18))
def test_one_check_digit_of_ten_holds(digits):
    assert sum(luhn(f"{digits}{check}") for check in range(10)) == 1


@given(st.text("0123456789", min_size=2, max_size=18))
def test_a_card_number_with_one_wrong_digit_is_none(digits):
    check = next(n for n in range(10) if luhn(f"{digits}{n}"))
    number = f"{digits}{check}"
    for place, digit in enumerate(number):
        changed = [
            f"{number[:place]}{other}{number[place + 1 :]}"
            for other in "0123456789"
        ]
        assert [text for text in changed if luhn(text)] == [number], digit


@given(st.text("0123456789ABCXYZ", min_size=10, max_size=25), st.data())
def test_an_account_with_one_wrong_sign_is_none(account, data):
    # Check digits as ISO 13616 makes them: 98 minus the rest with 00.
    moved = "".join(str(int(sign, 36)) for sign in f"{account}DE00")
    whole = f"DE{98 - int(moved) % 97:02d}{account}"
    assert iban(whole)
    place = data.draw(st.integers(4, len(whole) - 1))
    other = data.draw(st.sampled_from("0123456789"))
    changed = f"{whole[:place]}{other}{whole[place + 1 :]}"
    if whole[place].isdigit():
        assert iban(changed) == (changed == whole)
