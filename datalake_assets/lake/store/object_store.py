"""Object stores such as S3: opened here alone, with the patience that a network asks for.

Belongs here: stores by URL for obstore, the options of Polars, and how a lost answer is met. Endpoint,
region and credentials are those of the standard `AWS_...` variables, as each of the three finds them by itself:

- all three: `AWS_ACCESS_KEY_ID` (with `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), a web identity (EKS), the role of
  a container (ECS, EKS Pod Identity) or of an instance; `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`.
- delta-rs (by the AWS SDK) and Polars (by boto3, where it is installed) also know `AWS_PROFILE` and the files that it
  stands in; obstore does not. `eval "$(aws configure export-credentials --format env)"` makes variables of a profile.
"""

import random
import re
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import obstore
from deltalake.exceptions import DeltaError
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import LocalStore, ObjectStore, from_url

if TYPE_CHECKING:
    from obstore.store import RetryConfig  # exists for type checkers alone

Result = TypeVar("Result")
_RETRIES, _SECONDS = 10, 120
_FIRST_PAUSE, _LONGEST_PAUSE, _BASE = 0.1, 10.0, 4  # seconds; with a base of 2 ten retries are over after a second
_RETRY: "RetryConfig" = {
    "max_retries": _RETRIES,
    "retry_timeout": timedelta(seconds=_SECONDS),
    "backoff": {
        "init_backoff": timedelta(seconds=_FIRST_PAUSE),
        "max_backoff": timedelta(seconds=_LONGEST_PAUSE),
        "base": _BASE,
    },
}
_POLARS: Final = {
    "max_retries": _RETRIES,
    "retry_timeout_ms": _SECONDS * 1000,
    "retry_init_backoff_ms": int(_FIRST_PAUSE * 1000),
    "retry_max_backoff_ms": int(_LONGEST_PAUSE * 1000),
    "retry_base_multiplier": float(_BASE),
}
_ASKED_AGAIN = (0.1, 0.4, 1.6, 6.4, 12.8)
"""Seconds before a lost answer is asked for again."""
_PATIENCE = 60.0
_LOST = re.compile(r"HTTP error|\b50\d (?:Internal|Bad|Service|Gateway)|operation timed out")
"""The transport broke, or the server said once too often that it could not."""


def is_remote(place: str) -> bool:
    """Whether a place is a URL of an object store rather than a local folder."""
    return "://" in place


@cache
def open_object_store(url: str) -> ObjectStore:
    """The store of a URL such as `s3://bucket/prefix`; the same one each time, as each keeps its own connections."""
    return from_url(url, retry_config=_RETRY)


def store_and_key(place: str, path: str) -> tuple[ObjectStore, str]:
    """The store that holds a path below a place, and the path's key there; a bucket's tables share one store."""
    if not is_remote(place):
        return LocalStore(place), path
    scheme, _, rest = place.partition("://")
    bucket, _, prefix = rest.partition("/")
    return open_object_store(f"{scheme}://{bucket}"), "/".join(part for part in (prefix.strip("/"), path) if part)


def polars_options(place: str) -> dict[str, Any] | None:
    """The storage options of Polars for a place; None for a folder."""
    return dict(_POLARS) if is_remote(place) else None


def answered(ask: Callable[[], Result], *, seconds: float = _PATIENCE) -> Result:
    """Ask, and for some seconds ask again where the answer was lost on the way; only for what may be done twice.

    The clients try again what failed before an answer began. They do not where an answer breaks off in the middle, nor
    a conditional put or a deletion of which nobody knows whether it came to pass; and delta-rs gives up after a second
    (its options would be handed on to Polars, which knows others).
    """
    began = time.monotonic()
    for pause in _ASKED_AGAIN:
        try:
            return ask()
        except (GenericError, DeltaError, OSError) as error:
            if not is_lost_answer(error) or time.monotonic() - began > seconds:
                raise
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (spreads retries, is no secret)
    return ask()


def is_lost_answer(error: Exception) -> bool:
    """Whether nobody knows what became of a request of obstore or delta-rs."""
    return _LOST.search(str(error)) is not None


def put(place: str, path: str, data: bytes) -> None:
    """Put an object below a place, over one that may lie there."""
    store, key = store_and_key(place, path)
    answered(lambda: obstore.put(store, key, data))


def put_new(place: str, path: str, data: bytes) -> bool:
    """Put an object below a place where there is none; False where another one lies there, which is left as it is.

    By the bytes an object is known to be the one of this very call, whose answer was lost on the way.
    """
    store, key = store_and_key(place, path)
    try:
        answered(lambda: obstore.put(store, key, data, mode="create"))
    except AlreadyExistsError:
        return get(place, path) == data
    return True


def get(place: str, path: str) -> bytes:
    """The bytes of an object below a place. Raises `FileNotFoundError`."""
    if not is_remote(place):
        return Path(place, path).read_bytes()
    store, key = store_and_key(place, path)
    return answered(lambda: bytes(obstore.get(store, key).bytes()))


def delete(place: str, path: str) -> None:
    """Delete an object below a place. Raises `FileNotFoundError` where the store tells that there is none."""
    store, key = store_and_key(place, path)
    answered(lambda: obstore.delete(store, key))
