"""Retry-After and its relatives: the vectors of the reference, and what they must never do."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from providers.retry_after import LONGEST, retry_after
from providers.transport import received

NOW = "Fri, 29 Sep 2023 16:26:37 GMT"
VECTORS = [
    ("20", 20),
    ("0", None),
    ("-10", None),
    ("60", 60),
    ("61", 61),
    ("1000000000", LONGEST),
    ("1.5", 1.5),
    (" 20 ", 20),
    ("nan", None),
    ("inf", None),
    ("Infinity", None),
    ("1e400", None),
    ("1e9", None),
    ("\uff11\uff12", None),
    ("1_0", None),
    ("+5", None),
    ("0x10", None),
    ("10, 20", None),
    ("5;q=1", None),
    ("", None),
    ("soon", None),
    ("9" * 35, LONGEST),
    ("Fri, 29 Sep 2023 16:26:57 GMT", 20),
    ("Friday, 29-Sep-23 16:26:57 GMT", 20),
    ("Fri Sep 29 16:26:57 2023", 20),
    ("Fri, 29 Sep 2023 16:26:37 GMT", None),
    ("Fri, 29 Sep 2023 16:26:27 GMT", None),
    ("Fri, 29 Sep 2023 16:28:38 GMT", 121),
    ("Zun, 29 Sep 2023 16:26:57 GMT", None),
    ("Fri, 29 Sep 100000 16:26:57 GMT", None),
    ("Fri, 99 Sep 2023 16:26:57 GMT", None),
    ("Fri, 29 Sep 2023 99:26:57 GMT", None),
    ("Fri, 29 Sep 2023 16:26:57 +9999999999", None),
    ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
    ("Fri,", None),
    ("Fri, 29 Sep", None),
    ("\x00", None),
]


@pytest.mark.parametrize(("value", "delay"), VECTORS, ids=[repr(value)[:30] for value, _ in VECTORS])
def test_the_vectors(value, delay):
    """Seconds, dates of three forms, and rubbish, which asks for nothing."""
    assert delay == retry_after(CIMultiDict({"Retry-After": value, "Date": NOW}))


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({}, None),
        ({"retry-after-ms": "1500", "Retry-After": "60"}, 1.5),
        ({"retry-after-ms": "0", "Retry-After": "60"}, 60),
        ({"retry-after-ms": "rubbish", "Retry-After": "60"}, 60),
        ({"Retry-After": "7", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 7),
        ({"Retry-After": "rubbish", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3 fortnights"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "-1"}, None),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, None),
        ({"x-ratelimit-remaining-tokens": "90", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"RateLimit": '"default";r=0;t=7'}, 7),
        ({"RateLimit": '"default";r=50;t=30'}, None),
        ({"RateLimit": '"default";r=0'}, None),
        ({"RateLimit": ";;;r=;t=x"}, None),
        ({"Retry-After": "3", "RateLimit": '"default";r=0;t=7'}, 3),
        (
            {
                "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2s",
            },
            2,
        ),
    ],
)  # fmt: skip
def test_who_is_believed(headers, delay):
    """`retry-after-ms` before `Retry-After` before vendors' resets before `RateLimit`; the first that is valid."""
    found = retry_after(CIMultiDict({"Date": NOW, **headers}))

    assert delay is None if found is None else pytest.approx(delay) == found


def test_of_repeated_headers_the_first_valid_one():
    """A proxy may add its own line."""
    assert 20 == retry_after(CIMultiDict([("Date", NOW), ("Retry-After", "soon"), ("Retry-After", "20")]))
    assert 20 == retry_after(CIMultiDict([("Date", NOW), ("Retry-After", "20"), ("Retry-After", "30")]))


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_a_date_is_measured_by_the_servers_own_clock(skew):
    """Ours may be an hour off."""
    server = datetime.now(UTC) + timedelta(seconds=skew)
    until = format_datetime(server + timedelta(seconds=30), usegmt=True)
    headers = CIMultiDict({"Date": format_datetime(server, usegmt=True), "Retry-After": until})

    assert 30 == retry_after(headers)


def test_without_a_date_of_its_own_the_time_of_arrival_counts():
    """RFC 9110 has the recipient note it."""
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = retry_after(received(CIMultiDict({"Retry-After": until}), time.time()))

    assert found is not None
    assert 28 <= found <= 31


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,7} \d\d:\d\d:\d\d \w{1,5}"))
def test_no_text_ever_raises(value):
    """What comes out is nothing, or a number of seconds that can be compared."""
    for name in ("Retry-After", "retry-after-ms", "RateLimit", "x-ratelimit-reset-tokens", "Date"):
        headers = CIMultiDict({"Retry-After": NOW, "Date": NOW, "x-ratelimit-remaining-tokens": "0"})
        headers[name] = value
        found = retry_after(headers)
        assert found is None or 0 < found <= 4e13
