"""The time that an object's key tells: its date folders, and the time in its name.

Belongs here: how DMS, Firehose and Hive write times into keys. Which of them decides is told in `landing`.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

FIRST = datetime(1970, 1, 1, tzinfo=UTC)  # what is named for a year outside these bounds is no date
LAST = datetime(2200, 1, 1, tzinfo=UTC)
# The year comes first: DMS's DDMMYYYY and MMYYYYDD folders tell no date, as half of one would be taken for a year.
_DATE_FOLDER = re.compile(
    r"(?:year=)?(\d{4})(?:[/_-]?(?:month=)?(\d{2})(?:[/_-]?(?:day=)?(\d{2})(?:[/_-]?(?:hour=)?(\d{2}))?)?)?", re.ASCII
)
FIREHOSE_ERRORS = frozenset({"processing-failed", "format-conversion-failed"})
"""The folders (`!{firehose:error-output-type}`) below a stream's into which Firehose puts what it could not convert."""
_DEEPEST_DATE = 4  # folders: year, month, day, hour
_LONGEST_MONTH = timedelta(days=31)
_NAMED_TIMES = (
    # DMS: yyyymmdd-hhmmssfff; AWS's own example has one digit more.
    re.compile(r"^(?:.*[-_])?(\d{4})(\d{2})(\d{2})-(\d{2})(\d{2})(\d{2})(\d{3,4})\b", re.ASCII),
    # Firehose: YYYY-MM-DD-HH-MM-SS
    re.compile(r"-(\d{4})-(\d{2})-(\d{2})-(\d{2})-(\d{2})-(\d{2})()-", re.ASCII),
)


def named_time(path: str) -> datetime | None:
    """The time (UTC) in the name of a DMS or Firehose object, to its last digit; None for a name without one.

    The folder has no say: a name may tell a time that is not within its folder's.
    """
    name = path.rpartition("/")[2]
    match = next((m for m in (pattern.search(name) for pattern in _NAMED_TIMES) if m), None)
    if match is None:
        return None
    *parts, fraction = match.groups()
    return _moment(*map(int, parts), int(fraction.ljust(6, "0")))


def names_before(moment: datetime) -> list[tuple[str, str]]:
    """Ranges [low, high) of the names that DMS gives to objects before the hour of a moment (UTC).

    No folder that holds a later time lies in them (`2026/`, `202603/`, `2026-03-09/`), whatever its form: the ranges
    end with each year, and begin anew with the moment's month. Those before the moment's month hold nothing but eight
    digits that are an older day, and what follows them.
    """
    years = [(f"{year}0101-", f"{year}1232") for year in range(FIRST.year, moment.year)]
    months = (f"{moment:%Y}0101-", f"{moment:%Y%m}")
    days = (f"{moment:%Y%m}01-", f"{moment:%Y%m%d-%H}")
    return [r for r in (*years, months, days) if r[0] < r[1]]


@lru_cache(maxsize=1024)  # every object of a folder asks
def folder_dates(folder: str) -> tuple[datetime, datetime] | None:
    """The time that a folder stands for, as [begin, end) in UTC; None when its path does not begin with a date.

    A folder within a dated one stands for the same time, whatever its name; that of a kind of Firehose's errors is
    passed over.
    """
    parts = folder.split("/")
    if parts[0] in FIREHOSE_ERRORS:
        del parts[0]
    parts = parts[:_DEEPEST_DATE]
    tried = (_dates("/".join(parts[:depth])) for depth in range(len(parts), 0, -1))
    return next((dates for dates in tried if dates is not None), None)


def undated(folder: str, moment: datetime) -> str:
    """A folder's path without the folders in it that stand for the day, or the month, of a moment (UTC)."""
    parts = folder.split("/")
    for begin in range(len(parts)):
        for end in range(min(len(parts), begin + _DEEPEST_DATE), begin, -1):
            dates = _dates("/".join(parts[begin:end]))
            if dates is None or dates[1] - dates[0] > _LONGEST_MONTH:
                continue
            if dates[0].replace(hour=0) <= moment < max(dates[1], dates[0].replace(hour=0) + timedelta(days=1)):
                return "/".join(parts[:begin] + parts[end:])
    return folder


def _dates(folder: str) -> tuple[datetime, datetime] | None:
    """The time of a path that is a date from end to end."""
    match = _DATE_FOLDER.fullmatch(folder)
    parts = [int(part) for part in match.groups() if part] if match else []
    begin = _moment(*parts, *([1] * (3 - len(parts)))) if parts else None
    if begin is None:
        return None
    match len(parts):
        case 1:
            return begin, begin.replace(year=begin.year + 1)
        case 2:
            return begin, (begin + timedelta(days=31)).replace(day=1)
        case 3:
            return begin, begin + timedelta(days=1)
        case _:
            return begin, begin + timedelta(hours=1)


def _moment(*parts: int) -> datetime | None:
    """Year, month, day, hour, minute, second and microsecond as a time; None when there is no such time."""
    try:
        moment = datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc] # mypy takes `tzinfo` for one of the parts
    except ValueError:
        return None
    return moment if FIRST <= moment < LAST else None
