"""Firehose and S3 as the sinks of accepted records.

Belongs here: calls of AWS, their limits, and how what failed is tried again. boto3's own retries are switched off for
Firehose, as a batch may fail in part.
"""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from datalake_assets.ingest.sink import Failure
from datalake_assets.ingest.sources import object_key

MOST_RECORDS = 500
MOST_CALL_BYTES = 4 * 1024 * 1024
MOST_RECORD_BYTES = 1_000 * 1024
"""Firehose's limits: of a PutRecordBatch call, and of a record in it before Base64, its line end counted.

AWS does not say whether a call's bytes are counted before or after Base64; here they are counted after it, as more.
"""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_THROTTLED = frozenset(
    {"LimitExceededException", "ProvisionedThroughputExceededException", "ServiceUnavailableException", "SlowDown"}
    | {"ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
_FINAL = frozenset(
    {"AccessDenied", "AccessDeniedException", "InvalidArgumentException", "InvalidKMSResourceException"}
    | {"InvalidSourceException", "NoSuchBucket", "ResourceNotFoundException", "UnrecognizedClientException"}
    | {"ExpiredTokenException", "InvalidSignatureException", "KMS.AccessDeniedException", "MissingAuthenticationToken"}
)
_TOO_LARGE = Failure(
    f"the record has more than {MOST_RECORD_BYTES - 1:,} bytes, which the stream does not take; send smaller ones",
    is_final=True,
    is_too_large=True,
)
_THROTTLE = Failure("the stream is too busy", is_throttled=True)
_UNAVAILABLE = Failure("the stream did not take it in time")
_MISCONFIGURED = Failure("the API may not put it where it belongs", is_final=True)
_log = logging.getLogger(__name__)


class FirehoseSink:
    """A Firehose stream: records as lines, each by itself, so that each is told whether it was put."""

    def __init__(self, client: Any, stream: str) -> None:
        """Put to `stream` by a boto3 client of Firehose's, which should not retry by itself."""
        self._client = client
        self._stream = stream

    async def put(self, records: Sequence[bytes], *, deadline: float) -> Sequence[Failure | None]:
        """See `Sink`. What fails is tried again until the deadline, after pauses that grow and differ."""
        outcomes: list[Failure | None] = [_UNAVAILABLE] * len(records)
        waiting: list[int] = []
        for n, record in enumerate(records):
            if len(record) + 1 > MOST_RECORD_BYTES:
                outcomes[n] = _TOO_LARGE
            else:
                waiting.append(n)
        pause = _FIRST_PAUSE
        while waiting:
            for batch in _batches(waiting, records):
                if time.monotonic() < deadline:
                    for n, failure in zip(batch, self._put_batch([records[n] for n in batch]), strict=True):
                        outcomes[n] = failure
            waiting = [n for n in waiting if (failure := outcomes[n]) is not None and not failure.is_final]
            nap = random.uniform(pause / 2, pause)  # noqa: S311 (spreads retries, is no secret)
            if waiting and time.monotonic() + nap >= deadline:
                _log.warning("%s: %d of %d records were not put in time", self._stream, len(waiting), len(records))
                break
            if waiting:
                await asyncio.sleep(nap)
                pause = min(2 * pause, _LONGEST_PAUSE)
        return outcomes

    def _put_batch(self, records: Sequence[bytes]) -> Sequence[Failure | None]:
        """What became of each record of one call."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            told = self._client.put_record_batch(
                DeliveryStreamName=self._stream, Records=[{"Data": record + b"\n"} for record in records]
            )
        except ClientError as error:
            return [_failure(error, self._stream)] * len(records)
        except BotoCoreError as error:  # an answer that did not come; a record may be put twice, never not at all
            _log.warning("%s: %s", self._stream, error)
            return [_UNAVAILABLE] * len(records)
        if not told["FailedPutCount"]:
            return [None] * len(records)
        return [_outcome(entry.get("ErrorCode")) for entry in told["RequestResponses"]]


class S3Sink:
    """A folder of a bucket: the records of a request as one object of JSON lines."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """Put below `prefix` (as the dataset says, within the landing zone) by a boto3 client of S3's."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    async def put(self, records: Sequence[bytes], *, deadline: float) -> Sequence[Failure | None]:
        """See `Sink`. All records are put or none; the client tries again by itself, the same bytes at the same key."""
        from botocore.exceptions import BotoCoreError, ClientError

        if time.monotonic() >= deadline:
            return [_UNAVAILABLE] * len(records)
        key = object_key(self._prefix, at=datetime.now(UTC), identifier=uuid.uuid4())
        body = b"".join(record + b"\n" for record in records)
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/x-ndjson")
        except ClientError as error:
            return [_failure(error, self._bucket)] * len(records)
        except BotoCoreError as error:
            _log.warning("%s: %s", self._bucket, error)
            return [_UNAVAILABLE] * len(records)
        return [None] * len(records)


def _batches(waiting: Sequence[int], records: Sequence[bytes]) -> Iterator[list[int]]:
    """Records by their numbers, as many together as one call may have."""
    batch: list[int] = []
    size = 0
    for n in waiting:
        length = (len(records[n]) + 3) // 3 * 4  # in Base64, with its line end
        if batch and (len(batch) == MOST_RECORDS or size + length > MOST_CALL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(n)
        size += length
    yield batch


def _failure(error: Any, place: str) -> Failure:
    code = str(error.response.get("Error", {}).get("Code", ""))
    _log.warning("%s: %s", place, error)
    return _outcome(code) or _UNAVAILABLE


def _outcome(code: str | None) -> Failure | None:
    if not code:
        return None
    if code in _FINAL:
        return _MISCONFIGURED
    return _THROTTLE if code in _THROTTLED else _UNAVAILABLE
