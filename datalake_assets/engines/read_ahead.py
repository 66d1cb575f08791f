"""Doing the next piece of work while the present one is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], *, depth: int) -> Iterator[Item]:
    """The items of an iterable, taken by a thread that runs up to `depth` of them ahead.

    An exception of the iterable is raised where its item would have come. The thread ends when the iterator is closed.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None, bool]] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def put(item: Item | None, error: BaseException | None, last: bool) -> None:  # noqa: FBT001 (private)
        while not closed.is_set():
            try:
                return ready.put((item, error, last), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item, None, False)
                if closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 (handed over to the caller, who raises it)
            put(None, error, True)
        else:
            put(None, None, True)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]  # only the last entry has no item
    finally:
        closed.set()
        thread.join()
