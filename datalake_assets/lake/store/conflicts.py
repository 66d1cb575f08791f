"""Conflicts between writers: a decision is committed on what it was made on, or made again."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

ATTEMPTS = 40
_LONGEST_PAUSE = 1.0  # seconds
Result = TypeVar("Result")


class ConflictError(RuntimeError):
    """The table changed since the snapshot that a decision was made on: look again and decide again."""


def until_undisturbed(attempt: Callable[[], Result], *, what: str) -> Result:
    """Try again, after a growing pause of random length, while other writers come between.

    Raises the last `ConflictError`, with what it is about, after many tries.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except ConflictError as error:
            if number == ATTEMPTS - 1:
                raise ConflictError(f"{what}: other writers came between {ATTEMPTS} times; run it again") from error
            time.sleep(random.uniform(0, min(0.01 * 2**number, _LONGEST_PAUSE)))  # noqa: S311 (spreads retries, is no secret)
    raise AssertionError  # the last try returns or raises
