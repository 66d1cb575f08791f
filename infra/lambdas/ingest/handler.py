"""AWS Lambda's entry to the ingest API: `infra.lambdas.ingest.handler.handler`.

Belongs here: what this Lambda is given (its environment, its clients). What it does with a request is in
`datalake_assets/ingest`, which the local server runs too. Of its environment it reads

- `BRONZE`: the landing zone, `s3://BUCKET` or `s3://BUCKET/PREFIX`, for sources without a stream;
- `CONTRACTS`: the file of contracts, by default the `contracts.json` that it is shipped with.
"""

import asyncio
import os
from functools import cache
from pathlib import Path
from typing import Any

from datalake_assets.ingest.handler import Answer, Event, Handler, build_handler
from datalake_assets.ingest.sources import Source, read_sources
from infra.lambdas.ingest.sinks import FirehoseSink, S3Sink

_SHIPPED = Path(__file__).parents[3] / "contracts.json"
_CONNECT_SECONDS, _READ_SECONDS = 2, 5


def handler(event: Event, context: Any) -> Answer:
    """Answer one request of API Gateway's HTTP API."""
    answer: Answer = _runner().run(_service()(event, context))
    return answer


@cache
def _runner() -> Any:
    """An event loop that is kept from one request to the next."""
    return asyncio.Runner()


@cache
def _service() -> Handler:
    """The handler, made once for the life of the process."""
    import boto3
    from botocore.config import Config

    waits = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
    firehose = boto3.client("firehose", config=Config(**waits, retries={"total_max_attempts": 1, "mode": "standard"}))
    s3 = boto3.client("s3", config=Config(**waits, retries={"total_max_attempts": 3, "mode": "standard"}))
    bucket, _, folder = os.environ["BRONZE"].removeprefix("s3://").partition("/")

    def sink(source: Source) -> FirehoseSink | S3Sink:
        if source.stream is not None:
            return FirehoseSink(firehose, source.stream)
        return S3Sink(s3, bucket, "/".join(part for part in (folder.strip("/"), source.prefix) if part))

    sources = read_sources(Path(os.environ.get("CONTRACTS", _SHIPPED)))
    return build_handler(sources, {name: sink(source) for name, source in sources.items()})
