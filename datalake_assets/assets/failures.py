"""Which failures are worth another try."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from deltalake.exceptions import CommitFailedError, DeltaError
from obstore.exceptions import GenericError

TRANSIENT = dg.RetryPolicy(max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""How often and how soon a step is tried again after a transient fault."""

_TRANSIENT_ERRORS = (CommitFailedError, GenericError, ConnectionError, TimeoutError, InterruptedError, BlockingIOError)
_TRANSIENT_WORDS = ("timed out", "timeout", "connection", "slow down", "throttl", "503", "500 internal")


@contextmanager
def only_transient_retries() -> Iterator[None]:
    """Let transient faults (storage, network, commit conflicts) reach the retry policy; make every other one final."""
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        if is_transient(error):
            raise
        raise dg.Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error


def is_transient(error: BaseException) -> bool:
    """Whether the same work may well succeed a little later."""
    if isinstance(error, _TRANSIENT_ERRORS):
        return True
    words = str(error).lower()
    return isinstance(error, OSError | DeltaError) and any(word in words for word in _TRANSIENT_WORDS)
