"""Doing the next piece of work while the present one is used."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOOK_UP_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Made(Generic[Item]):
    item: Item


@dataclass(frozen=True, slots=True)
class _Ended:
    error: BaseException | None


def read_ahead(items: Iterable[Item], *, depth: int, closed: threading.Event | None = None) -> Iterator[Item]:
    """The items of an iterable, taken by a thread that runs up to `depth` of them ahead.

    An exception of the iterable is raised where its item would have come. The thread ends when the iterator is closed;
    an iterable that works long on an item is told so by `closed`, as whoever closes waits for it.
    """
    ready: queue.Queue[_Made[Item] | _Ended] = queue.Queue(maxsize=depth)
    closed = closed or threading.Event()
    thread = threading.Thread(target=_work, args=(items, ready, closed), name="read-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(made := ready.get(), _Made):
            yield made.item
        if made.error is not None:
            raise made.error
    finally:
        closed.set()
        thread.join()


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Generator[Result, None, None]:
    """What `work` makes of each item, in their order, by some threads that run ahead.

    An exception of `work` is raised where its result would have come, one of the iterable at once. The threads end when
    the iterator does, or is closed; what they work on by then is ended first.
    """
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="in-parallel") as pool:
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _work(items: Iterable[Item], ready: "queue.Queue[_Made[Item] | _Ended]", closed: threading.Event) -> None:
    try:
        for item in items:
            if not _put(_Made(item), ready, closed):
                return
    except BaseException as error:  # noqa: BLE001 (handed over to the caller, who raises it)
        _put(_Ended(error), ready, closed)
    else:
        _put(_Ended(None), ready, closed)


def _put(entry: _Made[Item] | _Ended, ready: "queue.Queue[_Made[Item] | _Ended]", closed: threading.Event) -> bool:
    """Hand an entry over; False when nobody wants it any more."""
    while not closed.is_set():
        try:
            ready.put(entry, timeout=_LOOK_UP_SECONDS)
        except queue.Full:
            continue
        return True
    return False
