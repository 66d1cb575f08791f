"""Lengths of time as dataset files write them."""

import re
from datetime import timedelta
from typing import Any

_DURATION = re.compile(r"P(?:(\d{1,4})D)?(?:T(?=\d)(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?)?", re.ASCII)


def duration(value: Any) -> Any:
    """A length of time from ISO 8601's text of it, in days, hours, minutes and seconds; None stays.

    Raises `ValueError` for anything else.
    """
    if isinstance(value, timedelta) or value is None:
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value != "P" else None
    if match is None:
        raise ValueError(f"{value!r} is no length of time; write one such as PT15M, PT1H or P2D")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
