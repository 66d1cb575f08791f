"""Whether the object stores of a lake can hold it, found out once before work begins.

Belongs here: what a store has to be able to do, and what is told where it can't. Local folders are looked at by the
command line.
"""

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.object_store import answered, is_remote

PROBE = "_conditional_puts"
"""The object below a place by which its store is tried; it stays there."""
_CONTENT = b"By this object the lake finds out whether its store honours If-None-Match. It may be deleted.\n"
_SECONDS = 2
_METADATA_SERVICE = "169.254.169.254"
_UNKNOWN_HEADER = ("NotImplemented", "501 ")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_SWITCHES = ("AWS_ALLOW_HTTP", "AWS_SKIP_SIGNATURE", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_UNSIGNED_PAYLOAD")
_YES_OR_NO = frozenset({"1", "true", "on", "yes", "y", "0", "false", "off", "no", "n"})


class UnusableStoreError(RuntimeError):
    """An object store that can't hold a lake as it is; says where and what to do."""


class UnreachableStoreError(UnusableStoreError):
    """An object store that can't be reached, or not by whoever asks: it may be tomorrow, or by somebody else."""


def check_stores(layout: Layout, *, writes: bool) -> None:
    """Raise `UnusableStoreError` for a zone in an object store that a lake can't work with.

    Costs one request for each place that lies in no other, and nothing the second time in a process; the first time in
    the life of a lake one more. Without `writes` nothing is put. It takes at most some 30 seconds, be there no network.
    """
    if any(map(is_remote, (layout.root, layout.bronze, layout.silver, layout.gold, layout.quarantine))):
        _require_readable_variables()
    tables = (layout.root, layout.silver, layout.gold, layout.quarantine)
    for place in _outermost(tables if writes else (*tables, layout.bronze)):
        (_require_conditional_puts if writes else _require_reachable)(place)
    if writes and is_remote(layout.bronze) and not _lies_in(layout.bronze, tables):
        _require_reachable(layout.bronze)


def _require_readable_variables() -> None:
    """Refuse variables that obstore can't read: it panics, or names none."""
    for name in _ENDPOINTS:
        url = os.environ.get(name, "http://")
        if not url.startswith(("http://", "https://")):
            raise UnusableStoreError(
                f"{name} is {url!r}, which is no URL; write one such as http://127.0.0.1:9000, or unset it"
            )
    for name in _SWITCHES:
        switch = os.environ.get(name, "true")
        if switch.lower() not in _YES_OR_NO:
            raise UnusableStoreError(f"{name} is {switch!r}; set it to true or false, or unset it")


def _outermost(places: Iterable[str]) -> list[str]:
    """The remote ones of some places, without those that lie in others."""
    remote = list(dict.fromkeys(filter(is_remote, places)))
    return [place for place in remote if not _lies_in(place, remote)]


def _lies_in(place: str, others: Iterable[str]) -> bool:
    return any(place.startswith(f"{other}/") for other in others)


@cache
def _require_conditional_puts(place: str) -> None:
    """Put an object where one lies already: a store that takes it would take a second commit of a version as well."""
    for _ in range(2):
        try:
            _asked(place, lambda store: obstore.put(store, PROBE, _CONTENT, mode="create"))
        except AlreadyExistsError:
            return
    raise UnusableStoreError(
        f"{place}: this store ignores If-None-Match (conditional puts), so that of two commits of a Delta table one "
        "would be lost without a word; use a store that honours it, such as Amazon S3 or MinIO"
    )


@cache
def _require_reachable(place: str) -> None:
    _asked(place, lambda store: next(iter(obstore.list(store, PROBE)), None))


def _asked(place: str, ask: Callable[[ObjectStore], object]) -> None:
    """Ask a store something. Raises `AlreadyExistsError`, and what else it says as `UnusableStoreError`."""
    bucket = place.partition("://")[2].partition("/")[0]
    try:
        store = from_url(place, retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=_SECONDS)})
        answered(lambda: ask(store), seconds=_SECONDS)
    except AlreadyExistsError:
        raise
    except (BaseError, OSError, ValueError) as error:
        told = " ".join(str(error).partition("\n\n")[0].split())
        if isinstance(error, FileNotFoundError) or "NoSuchBucket" in told:
            raise UnusableStoreError(
                f"{place}: there is no bucket {bucket!r} here; create it, or check the name, AWS_REGION and "
                "AWS_ENDPOINT_URL"
            ) from None
        if any(word in told for word in _UNKNOWN_HEADER):
            raise UnusableStoreError(
                f"{place}: this store knows no conditional puts (If-None-Match), on which commits rest; "
                f"use one that does, such as Amazon S3 or MinIO: {told}"
            ) from None
        if _METADATA_SERVICE in told:
            raise UnreachableStoreError(
                f"{place}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or take a role; "
                'of a profile, eval "$(aws configure export-credentials --format env)" makes variables'
            ) from None
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in told:  # a listing's
            raise UnreachableStoreError(
                f"{place}: access is denied; the lake needs s3:ListBucket on the bucket, and s3:GetObject, "
                f"s3:PutObject and s3:DeleteObject on what lies below: {told}"
            ) from None
        raise UnreachableStoreError(
            f"{place} can't be reached; check the network, AWS_REGION and AWS_ENDPOINT_URL: {told}"
        ) from None
