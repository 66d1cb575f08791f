"""SIGINT and SIGTERM for a command that works: stop within seconds, wherever it is.

Belongs here: signals alone. Dagster puts its own handlers in the place of ours while it executes a run, drops what
they caught between steps, and a long call into a library lets no handler run. So a thread reads the signals as they
arrive (the wake-up file of `signal`), whoever handles them, and ends the process when nothing else does.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_SECONDS = 6.0
_CLEAR_UP_SECONDS = 2.0
_STDERR = 2  # the file itself: Python has none where it was closed at the start
_CURSOR_AND_LINE = b"\x1b[?25h\n"


class StoppedError(BaseException):
    """A signal arrived: the main thread stops what it does. Not an `Exception`: nobody is to swallow it."""


class Stop:
    """Whether a signal arrived, and which.

    `clear_up` is called, with the reason, where the main thread does not come to an end in time.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.clear_up: Callable[[str], None] = lambda _reason: None

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect of a process which a signal ended."""
        return 128 + (self.signal or signal.SIGINT)

    @property
    def reason(self) -> str:
        """What to say of it."""
        return f"stopped by {self.signal.name}" if self.signal is not None else "stopped"

    def check(self) -> None:
        """Raise `StoppedError` when a signal arrived."""
        if self.signal is not None:
            raise StoppedError


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise `StoppedError` in the main thread at the first SIGINT or SIGTERM, even when the parent had them ignored.

    When the process has not ended six seconds later, what is under way is cleared up by another thread and the process
    ends with the signal's exit code. A second signal ends it at once. Must be entered in the main thread.
    """
    stop = Stop()
    read, write = os.pipe()
    os.set_blocking(write, False)
    handlers = {number: signal.signal(number, _raise) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(stop, read), name="signals", daemon=True).start()
    try:
        yield stop
    finally:
        if stop.signal is None:  # else the watch goes on until the process has ended
            signal.set_wakeup_fd(wakeup)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(write)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise StoppedError


def _watch(stop: Stop, read: int) -> None:
    with suppress(OSError):
        while arrived := os.read(read, 1):
            if arrived[0] not in _SIGNALS:
                continue
            if stop.signal is not None:
                _leave(stop)
            stop.signal = signal.Signals(arrived[0])
            threading.Thread(target=_end, args=(stop,), name="end", daemon=True).start()
        os.close(read)


def _end(stop: Stop) -> None:
    time.sleep(_GRACE_SECONDS)
    clearing = threading.Thread(target=stop.clear_up, args=(stop.reason,), name="clear-up", daemon=True)
    clearing.start()
    clearing.join(_CLEAR_UP_SECONDS)
    _leave(stop)


def _leave(stop: Stop) -> None:
    """End the process as it is, and say so where that does not wait for a reader.

    A bar that turns has the cursor hidden, and its line is not ended.
    """
    told = f"{stop.reason}; what was committed is whole, and the same command goes on from here\n".encode()
    with suppress(OSError, ValueError):  # closed, perhaps
        if select.select((), (_STDERR,), (), 0)[1]:
            os.write(_STDERR, _CURSOR_AND_LINE + told if os.isatty(_STDERR) else told)
    os._exit(stop.exit_code)
