"""What AWS checks in parameters and botocore does not: lengths and patterns."""

import re
from collections.abc import Iterator
from typing import Any

from datalake_assets_tests.runners.fake_jobs import Refused


def check_limits(value: Any, shape: Any, at: str) -> None:
    """Raise `Refused` for the first text that is too long, too short, or of another pattern."""
    for text, limits, place in _texts(value, shape, at):
        if not limits.get("min", 0) <= len(text) <= limits.get("max", 2**31):
            raise Refused("ValidationException", f"{place} has {len(text)} characters")
        pattern = limits.get("pattern", "")  # those with \\u are Java's
        if pattern and "\\u" not in pattern and not re.fullmatch(pattern, text):
            raise Refused("ValidationException", f"{place} is {text!r}, not {pattern}")


def _texts(value: Any, shape: Any, at: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                yield from _texts(value[name], member, f"{at}.{name}")
    elif shape.type_name == "list":
        for part in value:
            yield from _texts(part, shape.member, at)
    elif shape.type_name == "map":
        for name, part in value.items():
            yield from _texts(part, shape.value, f"{at}.{name}")
    elif shape.type_name == "string":
        yield value, shape.metadata, at
