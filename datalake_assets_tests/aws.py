"""A moto server: S3 and control planes over HTTP, for whatever process asks, with a bucket for each lake."""

import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import obstore
from obstore.store import S3Store

REGION = "eu-west-1"


@dataclass(frozen=True)
class Aws:
    """A moto server at an endpoint."""

    endpoint: str

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables by which obstore, delta-rs, Polars and boto3 find the server, in any process."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self, service: str) -> Any:
        """A boto3 client of the server's, whatever the environment says."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106 (moto asks for none)
        )

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"lake-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket below a prefix, in order."""
        store = S3Store(
            bucket,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id="testing",
            secret_access_key="testing",  # noqa: S106
            client_options={"allow_http": True},
        )
        return sorted(meta["path"] for batch in obstore.list(store, prefix) for meta in batch)


@contextmanager
def moto_server() -> Iterator[Aws]:
    """A server at a free port, until the block ends, in a process of its own.

    delta-rs holds Python's lock while it waits for some answers: a server in the same process can't give them before
    the call has run into its timeout.
    """
    command, environment = [sys.executable, "-m", __name__], {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield Aws(server.stdout.readline().decode().strip())
        server.stdin.close()


def _serve() -> None:
    """Serve until nobody holds the other end of stdin; the endpoint is told on stdout."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    _serve()
