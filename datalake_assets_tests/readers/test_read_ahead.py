"""Work that is done ahead comes in order, no further ahead than agreed, and ends with whoever asked for it."""

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from datalake_assets.lake.readers.read_ahead import in_parallel, read_ahead


def test_results_come_in_the_order_of_the_items_whoever_is_done_first() -> None:
    def work(n: int) -> int:
        time.sleep(0.02 if n % 3 == 0 else 0)
        return n

    assert list(in_parallel(work, range(20), threads=3)) == list(range(20))


def test_several_items_are_worked_on_at_once_and_no_more_are_taken_ahead() -> None:
    taken: list[int] = []
    together = threading.Barrier(2, timeout=10)

    def items() -> Iterator[int]:
        for n in count():
            taken.append(n)
            yield n

    def work(n: int) -> int:
        if n < 2:
            together.wait()
        return n

    results = in_parallel(work, items(), threads=2)
    assert next(results) == 0
    assert len(taken) <= 3
    results.close()


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    results = read_ahead(in_parallel(lambda n: 2 // n, [1, 2, 0, 1], threads=2), depth=1)
    got: list[int] = []
    with pytest.raises(ZeroDivisionError):
        got.extend(results)
    assert got == [2, 1]


def test_an_error_of_who_gives_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(in_parallel(lambda n: n, items(), threads=2))


def test_closing_ends_the_threads() -> None:
    before = {*threading.enumerate()}
    results = in_parallel(lambda n: n, count(), threads=4)
    next(results)
    results.close()
    assert {*threading.enumerate()} <= before
