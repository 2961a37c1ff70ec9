"""2.G: Retry-After and quotas. Each row of the matrix by its name, on virtual time; the vectors are in `test_retry_after`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.lab.virtual import windows
from tests.matrix.timeline import ALPHA, QUICK, ask, says

AT_ONCE = 0.05
DATE = "Fri, 29 Sep 2023 {:02d}:26:{:02d} GMT"


def waited(headers: dict[str, str], status: int = 429) -> float:
    """Seconds between the two calls where there is only one deployment, which refuses once."""
    told = ask(windows(QUICK, (0.0, 0.005, says(status, headers))), alone=True)
    assert told.heard[0].error is None
    first, second = told.asked["alpha"]
    return second - first - 0.01  # as long as the refusal took


@pytest.mark.parametrize("status", [429, 503])
def test_g1_nobody_waits_while_another_is_free(status):
    """And for twenty seconds nobody comes; then somebody does."""
    told = ask(says(status, {"Retry-After": "20"}), 0, 0.5, 10, 19.9, 22)

    assert all(heard.seconds < AT_ONCE for heard in told.heard)
    assert [0, 22] == told.asked["alpha"]


@pytest.mark.parametrize("status", [429, 503])
def test_g2_the_only_one_is_waited_for(status):
    """As long as it said, a little longer, and not earlier; by others too."""
    assert 2.0 <= waited({"Retry-After": "2"}, status) <= 3.0
    told = ask(windows(QUICK, (0.0, 0.005, says(status, {"Retry-After": "2"}))), 0, 1, 1.5, alone=True)

    assert all(heard.error is None for heard in told.heard)
    assert all(at >= 2.01 for at in told.asked["alpha"][1:])


@pytest.mark.parametrize("hour", [15, 16, 17])
def test_g3_a_date_is_measured_by_the_senders_clock(hour):
    """An hour off in either direction changes nothing."""
    seconds = waited({"Retry-After": DATE.format(hour, 42), "Date": DATE.format(hour, 37)})

    assert 5.0 <= seconds <= 6.0


def test_g4_milliseconds_come_first():
    """One and a half seconds, not sixty."""
    assert 1.5 <= waited({"retry-after-ms": "1500", "Retry-After": "60"}) <= 2.0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["1000000000", "99999999999999999999", "9" * 35, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_g5_an_absurd_wait_is_never_slept(value, status):
    """It fails at once; the rest is a quarter of an hour and no more."""
    told = ask(
        says(status, {"Retry-After": value, "Date": DATE.format(16, 37)}), 0, 1, 800, 901, alone=True, deadline="120s"
    )

    assert all(heard.error is not None and heard.seconds < AT_ONCE for heard in told.heard)
    assert [0, 901] == told.asked["alpha"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value",
    ["-10", "0", "", "nan", "inf", "1e400", "\uff11\uff12", "1_0", "+5", "0x10", "5;q=1", "Zun, 29 Sep 2023 16:26:27 GMT",
     "Fri, 29 Sep 100000 16:26:57 GMT", "Fri, 29 Sep 2023 15:26:37 GMT"],
)  # fmt: skip
def test_g6_rubbish_is_our_own_backoff(value, status):
    """As if nothing had been said."""
    assert 0.0 <= waited({"Retry-After": value, "Date": DATE.format(16, 37)}, status) <= 1.2


@pytest.mark.parametrize("slower", [{}, {"Retry-After": "1"}])
def test_g7_a_rest_is_only_ever_extended(slower):
    """One says thirty seconds; then one that was sent before says less, or nothing."""
    late = replace(says(429, slower), latency=0.5)
    told = ask(windows(QUICK, (0.0, 0.05, late), (0.05, 1.0, says(429, {"Retry-After": "30"}))), 0, 0.06, 5, 29, 31)

    assert all(heard.error is None for heard in told.heard)
    assert [0, 0.06, 31] == told.asked["alpha"]


@pytest.mark.parametrize("status", [429, 503])
def test_g8_a_wait_beyond_the_deadline_fails_at_once(status):
    """With nobody else there; and the error says how long it would have been."""
    told = ask(says(status, {"Retry-After": "30"}), 0, 1, alone=True, deadline="10s")

    assert all(heard.seconds <= 0.011 for heard in told.heard)
    assert [30.0] == [inner.retry_after for inner in told.heard[0].error.exceptions]
    assert [0] == told.asked["alpha"]


def test_g9_a_crowd_is_let_out_spread():
    """A thousand wait for one rest: at most a tenth of them in any 50 ms, and none too early."""
    told = ask(windows(QUICK, (0.0, 1.0, says(429, {"Retry-After": "10"}))), 0, *[1.0] * 1000, alone=True)
    came = sorted(told.asked["alpha"][1:])

    assert all(heard.error is None for heard in told.heard)
    assert came[0] >= 10.0
    assert max(sum(one <= other < one + 0.05 for other in came) for one in came) <= 100


def test_g10_the_standard_field_is_read_from_a_refusal():
    """Nothing left for seven seconds."""
    assert 7.0 <= waited({"RateLimit": '"default";r=0;t=7'}) <= 8.0


def test_g10_a_success_that_says_nothing_is_left_paces():
    """The next call would be refused: it goes elsewhere."""
    last = says(200, {"RateLimit": '"default";r=0;t=7'}, _answer())
    told = ask(windows(QUICK, (0.0, 0.005, last)), 0, 1, 8)

    assert [0, 8] == told.asked["alpha"]


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": '"burst";r=50;t=30, "minute";r=0;t=7'},
        {"RateLimit": '"default";r=0', "RateLimit-Policy": '"default";q=100;w=7'},
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"},
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "0m7s"},
    ],
)
def test_g10_every_form_paces(headers):
    """Whichever of the limits is the one that is used up."""
    told = ask(windows(QUICK, (0.0, 0.005, says(200, headers, _answer()))), 0, 1, 6.9, 7.1)

    assert [0, 7.1] == told.asked["alpha"]


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": '"default";r=1;t=7'},
        {"RateLimit": '"a";r=0;t=0, "b";r=9;t=7'},
        {"RateLimit": '"default";r=0;t=7;'},
        {"RateLimit": "limit=10, remaining=0, reset=7"},
        {"RateLimit-Policy": '"default";q=100;w=7'},
        {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "0"},
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "-1"},
        {"x-ratelimit-remaining-requests": "00", "x-ratelimit-reset-requests": "7s"},
        {"x-ratelimit-reset-tokens": "6m0s"},
    ],
)
def test_g10_what_a_success_does_not_say_does_not_pace(headers):
    """Malformed, Azure's -1 and 0, or room left."""
    told = ask(windows(QUICK, (0.0, 0.005, says(200, headers, _answer()))), 0, 1)

    assert [0, 1] == told.asked["alpha"]


def test_g10_alone_it_is_asked_all_the_same():
    """Nothing was refused, and a wait would be for nothing."""
    told = ask(windows(QUICK, (0.0, 0.005, says(200, {"RateLimit": '"default";r=0;t=7'}, _answer()))), 0, 1, alone=True)

    assert [0, 1] == told.asked["alpha"]
    assert told.heard[1].seconds < AT_ONCE


def test_g10_another_key_is_not_spared():
    """It is the key that has nothing left, not the deployment."""
    told = ask(
        windows(QUICK, (0.0, 0.005, says(200, {"RateLimit": '"default";r=0;t=7'}, _answer()))), 0, 1, 2, 3, keys=2
    )

    assert [0, 1, 2, 3] == told.asked["alpha"]
    assert ["1", "2", "2", "2"] == [heard.attempts[0].credential for heard in told.heard]


def test_g10_an_absurd_time_is_a_quarter_of_an_hour():
    """The draft itself names it as an attack."""
    told = ask(windows(QUICK, (0.0, 0.005, says(200, {"RateLimit": '"d";r=0;t=999999999'}, _answer()))), 0, 899, 901)

    assert [0, 901] == told.asked["alpha"]


def _answer():
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": "default;;r=;t=x"},
        {"RateLimit": '"default";r=50;t=30'},
        {"RateLimit": "\x00"},
        {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "-1"},
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0"},
        {"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "6m0s"},
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6 fortnights"},
        {"x-ratelimit-reset-tokens": "6m0s"},
    ],
)
def test_g10_g11_what_is_malformed_or_says_nothing_is_ignored(headers):
    """Our own backoff."""
    assert 0.0 <= waited(headers) <= 1.2


@pytest.mark.parametrize(("value", "seconds"), [("120ms", 0.12), ("30s", 30.0), ("0m3.5s", 3.5), ("20", 20.0)])
def test_g11_a_vendors_span_is_read(value, seconds):
    """With its units."""
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": value}

    assert seconds <= waited(headers) <= seconds * 1.1 + 0.1


@pytest.mark.parametrize(("value", "seconds"), [("6m0s", 360), ("1h2m3.5s", 900)])
def test_g11_a_long_span_rests(value, seconds):
    """As long as was said, and a quarter of an hour at most."""
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": value}
    told = ask(says(429, headers), 0, seconds - 1, seconds + 1)

    assert [0, seconds + 1] == told.asked["alpha"]
    assert "closed" == told.health.state(ALPHA)
