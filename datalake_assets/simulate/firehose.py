"""What Kinesis Firehose writes to S3: object names by arrival time, and the records as gzip NDJSON.

Belongs here: the format. The records are made in `web.py`. Source of the rules:
https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html.
"""

import zlib
from datetime import datetime
from uuid import UUID

_GZIP = 31
"""`wbits` for a gzip container; zlib writes no time into its header, so equal records give equal bytes."""


def prefix(stream: str) -> str:
    """The folder in which the folders of a stream's years lie."""
    return f"firehose/{stream}"


def object_key(stream: str, *, oldest: datetime, identifier: UUID) -> str:
    """Where an object lands: its folder and its stamp tell when its oldest record arrived (UTC)."""
    return f"{prefix(stream)}/{oldest:%Y/%m/%d/%H}/{stream}-1-{oldest:%Y-%m-%d-%H-%M-%S}-{identifier}.gz"


def retried_key(key: str, *, identifier: UUID) -> str:
    """Where an object lands when a delivery that timed out is made again: only the uuid is another."""
    return f"{key[: -len(f'{identifier}.gz')]}{identifier}.gz"


def object_body(lines: bytes) -> bytes:
    """The lines compressed; level 1, as the simulator's time goes mostly here."""
    return zlib.compress(lines, level=1, wbits=_GZIP)
