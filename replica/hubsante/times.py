"""Times: the standard's date-time with offset ⇄ milliseconds since 1970, in whole numbers.

Messages carry offsets and second precision; `Z` is not used, and UTC is written `-00:00`. The arithmetic is our own
(days from civil date, proleptic Gregorian calendar), so that every build reckons alike and no library's range, locale
or time zone data comes in. Times in messages are often wrong, by an offset or by months; that is no reason to refuse
one. A year outside 1970 to 2199 is: a position of the year 9999 would hold against every later one.

Left out: names of time zones, fractions of seconds, durations.
"""

from __future__ import annotations

FIRST_YEAR = 1970
LAST_YEAR = 2199
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _number(text: str) -> int:
    """A decimal number without sign; -1 where it is none (str.isdigit alone takes digits of other scripts)."""
    return int(text) if text.isascii() and text.isdigit() else -1


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_in(year: int, month: int) -> int:
    return 29 if month == 2 and _is_leap(year) else _DAYS[month - 1]


def _days_since_1970(year: int, month: int, day: int) -> int:
    """Counts days with the year beginning in March, so that the leap day is its last one."""
    shifted = year - (month <= 2)
    era_day = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400
    return era_day + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468


def _date(text: str) -> tuple[int, int, int] | None:
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        return None
    year, month, day = _number(text[:4]), _number(text[5:7]), _number(text[8:])
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _days_in(year, month):
        return None
    return year, month, day


def _offset_minutes(text: str) -> int | None:
    if len(text) != 6 or text[0] not in "+-" or text[3] != ":":
        return None
    hours, minutes = _number(text[1:3]), _number(text[4:])
    if not 0 <= hours <= 23 or not 0 <= minutes <= 59:
        return None
    return (hours * 60 + minutes) * (-1 if text[0] == "-" else 1)


def instant_ms(text: str, last_year: int = LAST_YEAR) -> int | None:
    """`2024-05-26T13:20:00+02:00` in ms since 1970 (UTC); None where it is no date-time with offset of these years.

    A leap second (`:60`) counts as the first second of the next minute.
    """
    if len(text) != 25 or text[10] != "T" or text[13] != ":" or text[16] != ":":
        return None
    date, offset = _date(text[:10]), _offset_minutes(text[19:])
    hour, minute, second = _number(text[11:13]), _number(text[14:16]), _number(text[17:19])
    if date is None or offset is None or not FIRST_YEAR <= date[0] <= last_year:
        return None
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 60):
        return None
    minutes = (_days_since_1970(*date) * 24 + hour) * 60 + minute - offset
    return (minutes * 60 + second) * 1000


def date_time_text(at_ms: int) -> str:
    """ms since 1970 (a part of a second is dropped) as the standard writes UTC: `2024-05-26T11:20:00-00:00`."""
    seconds = at_ms // 1000
    days, second = divmod(seconds, 86400)
    shifted = days + 719468
    era, day_of_era = divmod(shifted, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = year_of_era + era * 400 + (month <= 2)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{year:04}-{month:02}-{day:02}T{clock}-00:00"
