"""Rules on text: JSON Schema's formats and patterns, as far as they mean the same here as to the lake's validator.

Belongs here: what is certain. A text or a pattern that Python might take otherwise is let through, as the lake's
reader will judge it.
"""

import re
from collections.abc import Callable

_LONGEST = 1_000
"""Longer texts are held against no pattern: Python's matcher may need more than linear time."""

# A pattern is known where it consists of these alone. Escapes for one character stand for it in both dialects.
_PLAIN = r"[^\\^$.|?*+()\[\]{}]"
_ESCAPED = r"\\[dDwW.\\/\-+*?()\[\]{}|^$]"
_IN_CLASS = r"(?:[^\\^\[\]&~|\-]|\\[dw.\\/\-+*?()\[\]{}|^$])"
_CLASS = rf"\[\^?-?(?:[A-Za-z]-[A-Za-z]|[0-9]-[0-9]|{_IN_CLASS})+-?\]"
_ATOM = rf"(?:{_PLAIN}|{_ESCAPED}|{_CLASS}|[.)])"
_REPEATED = r"(?:(?:[*+?]|\{\d+(?:,\d*)?\})\??(?![*+?{]))"
_KNOWN = re.compile(rf"(?:{_ATOM}{_REPEATED}?|\((?:\?:)?|[|^$])*")
_DOLLAR = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_WORD}(?:\.{_WORD})*@{_LABEL}(?:\.{_LABEL})*")
_UNUSUAL_IN_EMAIL = re.compile(r"[\"<>()\[\]:;,\\]")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY, _MONTHS, _HOURS, _SIXTY = 2, 12, 24, 60
_DATE_LENGTH = 10
_LONGEST_SURE_EMAIL = 64


def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """A pattern of JSON Schema (ECMA-262) for Python; None where Python might take it otherwise."""
    if not _KNOWN.fullmatch(pattern):
        return None
    # `$` means the end of the text alone, not a line end before it.
    ours = _DOLLAR.sub(lambda found: r"\Z" if found[0] == "$" else found[0], pattern)
    try:
        return re.compile(ours, re.ASCII)
    except (re.error, OverflowError, RecursionError):
        return None


def keeps_pattern(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a text matches a pattern somewhere; one that is too long to be sure of does."""
    return len(text) > _LONGEST or pattern.search(text) is not None


def _is_date(text: str) -> bool:
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    year, month, day = map(int, match.groups())
    if not 1 <= month <= _MONTHS or not 1 <= day <= _DAYS[month - 1]:
        return False
    leaps = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return leaps or (month, day) != (_FEBRUARY, _DAYS[_FEBRUARY - 1])


def _is_date_time(text: str) -> bool:
    match = _TIME.fullmatch(text, _DATE_LENGTH)
    if match is None or not _is_date(text[:_DATE_LENGTH]):
        return False
    hour, minute, second, offset_hour, offset_minute = (int(match[n] or 0) for n in (1, 2, 3, 5, 6))
    if hour >= _HOURS or minute >= _SIXTY or offset_hour >= _HOURS or offset_minute >= _SIXTY:
        return False
    if second < _SIXTY:
        return True
    offset = (offset_hour * _SIXTY + offset_minute) * (-1 if match[4] == "-" else 1)
    last_minute = (hour * _SIXTY + minute - offset) % (_HOURS * _SIXTY) == _HOURS * _SIXTY - 1
    return second == _SIXTY and last_minute  # a leap second


def _is_email(text: str) -> bool:
    """Quoted names, addresses in brackets, comments, display names and long ones are left to the lake."""
    if len(text) > _LONGEST_SURE_EMAIL or _UNUSUAL_IN_EMAIL.search(text):
        return True
    return _EMAIL.fullmatch(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _is_date,
    "date-time": _is_date_time,
    "email": _is_email,
    "ipv4": lambda text: _IPV4.fullmatch(text) is not None,
    "uri": lambda text: _URI.fullmatch(text) is not None,
    "uuid": lambda text: _UUID.fullmatch(text) is not None,
}
"""Whether a text is of a format, by its name. Of `uri` only the characters and the scheme are looked at."""
