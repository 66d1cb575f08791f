"""Being told to stop: SIGINT and SIGTERM as an event that work looks at between two objects."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """An event that is set when the process is told to stop; what the signals did before is restored afterwards.

    Handlers are set whatever was inherited: a shell starts its background jobs with SIGINT ignored.
    """
    stop = Event()

    def handle(_: int, __: FrameType | None) -> None:
        # Not set from here: the code that was interrupted may hold the event's lock, and would never let go of it.
        Thread(target=stop.set).start()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
