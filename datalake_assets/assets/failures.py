"""Which failures are worth another try."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from deltalake.exceptions import DeltaError
from obstore.exceptions import GenericError

from datalake_assets.lake.store.conflicts import ConflictError
from datalake_assets.lake.store.object_store import is_lost_answer
from datalake_assets.resources.runners.jobs import RemoteJobError

_RETRIES = 3
_WAIT_SECONDS = (1.0, 4.0)
_TRANSIENT_ERRORS = (ConflictError, GenericError, ConnectionError, TimeoutError, InterruptedError, BlockingIOError)
_TRANSIENT_NAMES = frozenset(error.__name__ for error in _TRANSIENT_ERRORS)
_TRANSIENT_WORDS = ("timed out", "timeout", "connection", "slow down", "throttl", "503", "500 internal")


@contextmanager
def only_transient_retries() -> Iterator[None]:
    """Ask Dagster to try the step again after a transient fault (storage, network, commit conflicts); no other.

    A retry policy on the asset would say the same, but under one Dagster also tries a step again that a signal
    interrupted (`op_execution_error_boundary` in dagster 1.13).
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        if is_transient(error):
            wait = random.uniform(*_WAIT_SECONDS)  # noqa: S311 (so that steps which met do not meet again)
            raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=wait) from error
        raise


def is_transient(error: BaseException) -> bool:
    """Whether the same work may well succeed a little later."""
    if isinstance(error, FileNotFoundError | PermissionError):  # whose texts, of obstore, tell of its `retry_timeout`
        return False
    if isinstance(error, _TRANSIENT_ERRORS) or (isinstance(error, Exception) and is_lost_answer(error)):
        return True
    if isinstance(error, RemoteJobError):  # which knows the class of the step's error by its name
        return error.kind in _TRANSIENT_NAMES
    words = str(error).lower()
    return isinstance(error, OSError | DeltaError) and any(word in words for word in _TRANSIENT_WORDS)
