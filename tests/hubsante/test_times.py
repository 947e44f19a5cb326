"""Times of messages: our own arithmetic against the standard library's, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.hubsante.times import date_time_text, instant_ms

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 3), datetime(2199, 12, 28), timezones=OFFSETS)  # noqa: DTZ001


@settings(deadline=None)
@given(MOMENTS)
def test_an_instant_is_what_the_standard_library_says(moment: datetime) -> None:
    """Milliseconds since 1970 agree with datetime's, for every offset and leap year."""
    moment = moment.replace(microsecond=0)
    assert instant_ms(moment.isoformat()) == int(moment.timestamp()) * 1000


@settings(deadline=None)
@given(MOMENTS)
def test_what_is_written_reads_back(moment: datetime) -> None:
    """An instant leaves as UTC, written -00:00, and reads back the same."""
    at_ms = int(moment.astimezone(UTC).timestamp()) * 1000
    text = date_time_text(at_ms)
    assert text.endswith("-00:00")
    assert instant_ms(text) == at_ms


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-26T13:20:00Z",
        "2024-05-26T13:20:00",
        "2024-05-26T13:20:00.5+02:00",
        "2024-05-26 13:20:00+02:00",
        "2024-05-26T13:20:00+24:00",
        "2024-05-26T13:20:00+02:60",
        "2024-05-26T24:00:00+02:00",
        "2024-05-26T13:60:00+02:00",
        "2024-05-26T13:20:61+02:00",
        "2024-02-30T13:20:00+02:00",
        "2023-02-29T13:20:00+02:00",
        "2100-02-29T13:20:00+02:00",
        "2024-13-01T13:20:00+02:00",
        "2024-00-01T13:20:00+02:00",
        "0000-01-01T00:00:00+00:00",
        "1969-12-31T23:59:59+00:00",
        "2200-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59+00:00",
        "２０２４-05-26T13:20:00+02:00",
        "2024-05-26T13:20:00+02:00\n",
        "-024-05-26T13:20:00+02:00",
        "",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Z, fractions, days and hours that do not exist, other digits, and years nothing real happens in."""
    assert instant_ms(text) is None


def test_an_expiry_may_lie_in_the_year_9999() -> None:
    """Only facts are bound to plausible years: a message may say that it never expires."""
    assert instant_ms("9999-12-31T23:59:59+00:00", last_year=9999) == 253402300799000


def test_a_leap_second_is_the_next_minute() -> None:
    """`:60` is a second that existed."""
    assert instant_ms("2016-12-31T23:59:60+00:00") == instant_ms("2017-01-01T00:00:00+00:00")


def test_offsets_are_one_instant() -> None:
    """The same instant under two offsets is the same number."""
    assert instant_ms("2024-12-05T14:30:00+02:00") == instant_ms("2024-12-05T13:30:00+01:00")
