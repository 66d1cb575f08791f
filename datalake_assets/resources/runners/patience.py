"""How long a remote runner waits, how often it looks, and which errors of AWS' own it looks past."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

_JITTER = 0.2
_GROWTH = 1.5
_FIRST_OF_LONGEST = 20  # the first wait is a twentieth of the longest
_BUSY = frozenset({"ConcurrentRunsExceededException", "ResourceNumberLimitExceededException"}) | {
    "ServiceQuotaExceededException"
}
_TRANSIENT = (
    "throttl",
    "toomanyrequests",
    "requestlimitexceeded",
    "internalserver",
    "internalservice",
    "internalfailure",
    "serviceunavailable",
    "operationtimeout",
)
_SERVER_FAULT = 500


@dataclass(frozen=True, slots=True)
class Patience:
    """Times of a remote runner, all in seconds.

    `poll`: the longest wait between two looks at a job. `start`: how long a job may wait for its turn while the service
    says that too many run. `job`: how long it may take. `api`: how long AWS may answer with errors before the runner
    gives up.
    """

    poll: float = 20.0
    start: float = 1_800.0
    job: float = 21_600.0
    api: float = 300.0

    def waits(self) -> Iterator[float]:
        """Seconds between looks: from short ones up to `poll`; uneven, so that steps do not look at once."""
        wait = self.poll / _FIRST_OF_LONGEST
        while True:
            yield wait * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (spreads calls, is no secret)
            wait = min(wait * _GROWTH, self.poll)


class Outage:
    """How long AWS has answered with errors in a row."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def over(self) -> None:
        """Note that AWS has answered."""
        self._since = None

    def bear(self, error: Exception) -> None:
        """Note an error; raises it where errors have lasted too long."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._seconds:
            raise error


def is_busy(error: Exception) -> bool:
    """Whether a service says that too much is running, so that a job can start later."""
    return code_of(error) in _BUSY


def is_passing(error: Exception) -> bool:
    """Whether AWS may well answer the same call a little later: throttled, a fault of its own, no connection.

    What botocore finds wrong before it asks (no region, no credentials, a parameter) is the same a little later.
    """
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= _SERVER_FAULT or code_of(error).lower().startswith(_TRANSIENT)
    of_the_network = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
    return isinstance(error, (*of_the_network, ConnectionError, TimeoutError))


def code_of(error: Exception) -> str:
    """AWS' code of an error; empty where it is none of AWS'."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
