"""The emulated S3 behind a proxy that can lose requests and answers, and counts them."""

from collections.abc import Iterator

import pytest

from datalake_assets.lake.store.object_store import open_object_store
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.s3.proxy import Proxy, s3_proxy


@pytest.fixture
def proxy(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the emulated S3, by which this process and those that it starts reach it."""
    open_object_store.cache_clear()
    with s3_proxy(aws.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running
    open_object_store.cache_clear()


@pytest.fixture
def place(aws: Aws, proxy: Proxy) -> str:
    """A place in a bucket of its own, behind the proxy."""
    return f"s3://{aws.bucket()}/lake"
