"""How long a server asks to wait: every spelling that servers have, and anything else that a header may hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.teachers.base import ABSURD_WAIT, retry_after

# Far enough that it is not over before the last test of a slow machine reads it.
SOON = datetime.now(UTC) + timedelta(hours=6)
HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
PLAIN = {
    "5": 5, "5.5": 5.5, " 7 ": 7, "007": 7, "0": 0, "-5": 0, "+3": 3, "1, 2": 2, "9,junk": 9, "2s": 2, "120ms": 0.12,
    "1m": 60, "6m0s": 360, "1h2m3.5s": 3723.5, "1d": 86_400,
}  # fmt: skip
GARBAGE = [
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 400,
    "99999999",
    "soon",
    "1_000",
    "٥",
    "0x10",
    "5 apples",
    "\0",
    "ms",
    ",",
]
MOMENTS = {
    "RFC 1123": SOON.strftime(HTTP_DATE),
    "RFC 850": SOON.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
    "asctime": SOON.strftime("%a %b %d %H:%M:%S %Y"),
    "with an offset": (SOON + timedelta(hours=2)).strftime(
        "%a, %d %b %Y %H:%M:%S +0200"
    ),
    "ISO": SOON.isoformat(),
    "ISO with Z": SOON.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO without a zone": SOON.strftime("%Y-%m-%dT%H:%M:%S"),
    "seconds since 1970": str(int(SOON.timestamp())),
    "milliseconds since 1970": str(int(SOON.timestamp() * 1000)),
    "a date twice": ", ".join([SOON.strftime(HTTP_DATE)] * 2),
}
NAMES = [
    "retry-after", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens", "x-ratelimit-reset", "ratelimit-reset",
    "anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-output-tokens-reset",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_is_read_in_every_header(name):
    for text, seconds in PLAIN.items():
        assert retry_after({name: text}) == pytest.approx(seconds), text
    for text in MOMENTS.values():
        assert retry_after({name: text}) == pytest.approx(
            (SOON - datetime.now(UTC)).total_seconds(), abs=3
        ), text
    for text in GARBAGE:
        assert retry_after({name: text}) is None, text
    for year in ("1999", "2016"):
        assert retry_after({name: f"Wed, 21 Oct {year} 07:28:00 GMT"}) in (
            0,
            None,
        )


@pytest.mark.parametrize("name", ["retry-after-ms", "x-ms-retry-after-ms"])
def test_milliseconds(name):
    assert retry_after({name: "1500"}) == 1.5
    assert retry_after({name: "1500", "retry-after": "9"}) == 1.5
    assert retry_after({name: "junk", "retry-after": "9"}) == 9


def test_what_a_server_asks_goes_before_its_resets():
    resets = {
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-reset-tokens": "50s",
    }
    assert retry_after({**resets, "retry-after": "7"}) == 7
    assert retry_after({**resets, "retry-after": "soon"}) == 2


def test_the_reset_of_what_is_used_up_counts():
    resets = {
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-reset-tokens": "50s",
    }
    requests, tokens = (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
    )
    assert retry_after(resets) == 2
    assert retry_after({**resets, requests: "3", tokens: "0"}) == 50
    assert retry_after({**resets, requests: "0", tokens: "3"}) == 2
    assert retry_after({**resets, requests: "0", tokens: "0"}) == 50


@pytest.mark.parametrize("status", [200, 400, 408, 409, 425, 500, 502, 504])
def test_other_statuses_ask_for_no_pause(status):
    assert (
        retry_after(
            {"retry-after": "9", "x-ratelimit-reset-requests": "2s"}, status
        )
        is None
    )
    assert [
        retry_after({"retry-after": "9"}, asking) for asking in (429, 503, 529)
    ] == [9, 9, 9]


ANYTHING = st.one_of(
    st.text(),
    st.text("0123456789.-+eE:,hmsund TZGMTWed/;"),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda moment: moment.strftime(HTTP_DATE)),
    st.datetimes().map(datetime.isoformat),
    st.lists(st.sampled_from([*PLAIN, *GARBAGE, *MOMENTS.values()])).map(
        ",".join
    ),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *NAMES,
            "retry-after-ms",
            "x-ms-retry-after-ms",
            "x-ratelimit-remaining-requests",
        ]
    ),
    ANYTHING,
)


@given(HEADERS, st.sampled_from([429, 503, 529]))
def test_anything_is_a_wait_from_0_to_a_day_or_none(headers, status):
    wait = retry_after(headers, status)
    assert wait is None or (isfinite(wait) and 0 <= wait <= ABSURD_WAIT)
