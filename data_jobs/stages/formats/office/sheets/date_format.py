"""Show the serial number of a date as the number format of its cell shows it.

show_date(45292.5, "d mmm yyyy, h:mm AM/PM")     # "1 Jan 2024, 12:00 PM"
"""

import re
from datetime import datetime, timedelta
from functools import lru_cache

#: One piece of a format: a quoted text, an escaped character, a space or a fill character, elapsed time, a
#: bracket, a mark of the half of the day, a part of a date, parts of a second, any other character.
PIECE = re.compile(
    r'"([^"]*)"?|\\(.)|([_*].)|\[(h+|m+|s+)\]|(\[[^\]]*\])|(AM/PM|A/P)|(y+|m+|d+|h+|s+)|(\.0+)|(.)',
    re.IGNORECASE | re.DOTALL,
)
#: Day 0 of the two calendars of Excel. In the first, 1900 counts as a leap year, so the days before March
#: 1900 have an epoch of their own.
EPOCH, EPOCH_BEFORE_MARCH, EPOCH_1904 = datetime(1899, 12, 30), datetime(1899, 12, 31), datetime(1904, 1, 1)
FIRST_OF_MARCH = 60
#: The last day of the year 9999.
LAST_DAY = 2_958_465
DAY_S = 86_400
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ELAPSED, HALF, PART, FRACTION, TEXT = "elapsed", "half", "part", "fraction", "text"


def has_date(section: str) -> bool:
    """Return True if the section of a format shows a date or a time."""
    return any(kind in {ELAPSED, PART} for kind, _ in _pieces(section))


def show_date(serial: float, section: str, *, from_1904: bool) -> str:
    """Return a date or a time as people see it; "" for a number that is no date.

    Args:
        serial: days since the epoch of the workbook.
        section: a section of a number format.
        from_1904: True if the dates of the workbook count from 1904.
    """
    if not 0 <= serial <= LAST_DAY:
        return ""
    pieces = _pieces(section)
    fractions = max((len(text) - 1 for kind, text in pieces if kind == FRACTION), default=0)
    seconds = round(serial * DAY_S, min(fractions, 6))
    epoch = EPOCH_1904 if from_1904 else EPOCH_BEFORE_MARCH if serial < FIRST_OF_MARCH else EPOCH
    try:
        moment = epoch + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    in_halves = any(kind == HALF for kind, _ in pieces)
    return "".join(
        _show(kind, text, moment, seconds, is_minutes=_is_minutes(pieces, index), in_halves=in_halves)
        for index, (kind, text) in enumerate(pieces)
    ).strip()


def _show(
    kind: str, text: str, moment: datetime, seconds: float, *, is_minutes: bool, in_halves: bool
) -> str:
    if kind == HALF:
        half = "AM" if moment.hour < 12 else "PM"
        return half if len(text) > len("A/P") else half[0]
    if kind == ELAPSED:
        unit_s = {"h": 3600, "m": 60, "s": 1}[text[0]]
        return f"{int(seconds // unit_s):0{len(text)}d}"
    if kind == FRACTION:
        return f".{moment.microsecond:06d}"[: len(text)]
    if kind == TEXT:
        return text
    return _show_part(text, moment, is_minutes=is_minutes, in_halves=in_halves)


def _show_part(text: str, moment: datetime, *, is_minutes: bool, in_halves: bool) -> str:
    unit, places = text[0], len(text)
    if unit == "y":
        return f"{moment.year % 100:02d}" if places <= 2 else f"{moment.year:04d}"
    if unit == "m" and not is_minutes and places >= 3:
        name = MONTHS[moment.month - 1]
        return name[:3] if places == 3 else name[0] if places == 5 else name
    if unit == "d" and places >= 3:
        name = DAYS[moment.weekday()]
        return name[:3] if places == 3 else name
    hour = (moment.hour - 1) % 12 + 1 if in_halves else moment.hour
    month = moment.minute if is_minutes else moment.month
    value = {"m": month, "d": moment.day, "h": hour, "s": moment.second}[unit]
    return f"{value:02d}" if places >= 2 else str(value)


def _is_minutes(pieces: list[tuple[str, str]], index: int) -> bool:
    """Return True if "m" means minutes: it follows hours, or seconds follow it."""
    kind, text = pieces[index]
    if kind != PART or text[0] != "m":
        return False
    units = [(at, unit[0]) for at, (kind, unit) in enumerate(pieces) if kind in {PART, ELAPSED}]
    place = units.index((index, "m"))
    before = units[place - 1][1] if place else ""
    after = units[place + 1][1] if place + 1 < len(units) else ""
    return before == "h" or after == "s"


@lru_cache(maxsize=1000)
def _pieces(section: str) -> list[tuple[str, str]]:
    pieces = []
    for quoted, escaped, skipped, elapsed, bracket, half, part, fraction, other in PIECE.findall(section):
        if elapsed:
            pieces.append((ELAPSED, elapsed.lower()))
        elif half:
            pieces.append((HALF, half))
        elif part:
            pieces.append((PART, part.lower()))
        elif fraction:
            pieces.append((FRACTION, fraction))
        elif not skipped and not bracket:
            pieces.append((TEXT, quoted or escaped or other))
    return pieces
