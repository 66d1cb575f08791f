"""Firehose and S3 as sinks: their limits, what fails in part, and what is never acknowledged."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from datalake_assets.ingest.sink import Failure
from datalake_assets_tests.aws import Aws
from infra.lambdas.ingest import sinks
from infra.lambdas.ingest.sinks import MOST_CALL_BYTES, MOST_RECORD_BYTES, FirehoseSink, S3Sink

Told = Callable[[list[bytes]], list[str | None]]
"""What a stream says of the records of a call: an error's code for each, or None."""


class Stream:
    """A client of Firehose's whose stream answers call after call as it is told to, then takes everything."""

    def __init__(self, *answers: Told | Exception) -> None:
        self.answers: Iterator[Told | Exception] = iter(answers)
        self.calls: list[list[bytes]] = []
        self.taken: list[bytes] = []

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:  # noqa: N803
        assert DeliveryStreamName == "clicks"
        data = [record["Data"] for record in Records]
        self.calls.append(data)
        answer = next(self.answers, lambda data: [None] * len(data))
        if isinstance(answer, Exception):
            raise answer
        codes = answer(data)
        self.taken += [record for record, code in zip(data, codes, strict=True) if code is None]
        told = [{"ErrorCode": c, "ErrorMessage": c} if c else {"RecordId": "r"} for c in codes]
        return {"FailedPutCount": sum(c is not None for c in codes), "RequestResponses": told}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are short; how long they are is not what is tested."""
    monkeypatch.setattr(sinks, "_FIRST_PAUSE", 0.001)


def _put(sink: FirehoseSink | S3Sink, records: Sequence[bytes], deadline: float = math.inf) -> list[Failure | None]:
    return list(asyncio.run(_awaited(sink, records, deadline)))


async def _awaited(sink: FirehoseSink | S3Sink, records: Sequence[bytes], deadline: float) -> Sequence[Failure | None]:
    return await sink.put(records, deadline=deadline)


def _client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutRecordBatch")


def test_calls_keep_the_limits_of_firehose() -> None:
    stream = Stream()
    records = [b"a" * 10] * 1_200 + [b"b" * (MOST_RECORD_BYTES - 1)] * 9
    assert _put(FirehoseSink(stream, "clicks"), records) == [None] * len(records)
    assert stream.taken == [record + b"\n" for record in records]
    assert all(len(call) <= 500 and sum(map(len, call)) <= MOST_CALL_BYTES for call in stream.calls)
    assert max(len(record) for call in stream.calls for record in call) == MOST_RECORD_BYTES


def test_a_record_that_is_too_large_is_told_and_the_others_are_put() -> None:
    stream = Stream()
    outcomes = _put(FirehoseSink(stream, "clicks"), [b"a", b"b" * MOST_RECORD_BYTES, b"c"])
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert outcomes[1] is not None
    assert outcomes[1].is_too_large
    assert stream.taken == [b"a\n", b"c\n"]


def test_what_fails_in_part_is_put_again_and_nothing_else() -> None:
    def every_other(data: list[bytes]) -> list[str | None]:
        return ["ServiceUnavailableException" if n % 2 else None for n in range(len(data))]

    stream = Stream(every_other, every_other, EndpointConnectionError(endpoint_url="x"))
    records = [str(n).encode() for n in range(8)]
    assert _put(FirehoseSink(stream, "clicks"), records) == [None] * 8
    assert sorted(stream.taken) == [record + b"\n" for record in records]
    assert [len(call) for call in stream.calls] == [8, 4, 2, 2]


@pytest.mark.parametrize("whole", [True, False])
def test_a_busy_stream_is_told_as_busy_when_the_time_is_up(whole: bool) -> None:
    def busy(data: list[bytes]) -> list[str | None]:
        return ["ServiceUnavailableException"] * len(data)

    stream = Stream(*[_client_error("ServiceUnavailableException") if whole else busy] * 1_000)
    outcomes = _put(FirehoseSink(stream, "clicks"), [b"a", b"b"], deadline=time.monotonic() + 0.05)
    assert all(outcome is not None and outcome.is_throttled for outcome in outcomes)
    assert stream.taken == []


def test_what_will_never_work_is_not_tried_again() -> None:
    stream = Stream(_client_error("AccessDeniedException"))
    outcomes = _put(FirehoseSink(stream, "clicks"), [b"a"])
    assert outcomes[0] is not None
    assert outcomes[0].is_final
    assert "AccessDenied" not in outcomes[0].message
    assert len(stream.calls) == 1


def test_after_the_deadline_nothing_is_put_or_acknowledged() -> None:
    stream = Stream()
    outcomes = _put(FirehoseSink(stream, "clicks"), [b"a"], deadline=time.monotonic())
    assert outcomes[0] is not None
    assert stream.calls == []


def test_records_are_put_to_a_real_stream_as_lines(moto: Aws) -> None:
    bucket, stream = moto.bucket(), "clicks"
    client = moto.client("firehose")
    name = f"{stream}-{bucket}"
    client.create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/x",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": "firehose/clicks/",
        },
    )
    records = [json.dumps({"id": str(n)}).encode() for n in range(600)]
    assert _put(FirehoseSink(client, name), records) == [None] * 600
    s3 = moto.client("s3")
    landed = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in moto.keys(bucket))
    assert sorted(landed.splitlines()) == sorted(records)
    missing = _put(FirehoseSink(client, "no-such-stream"), records[:1])
    assert missing[0] is not None
    assert missing[0].is_final


def test_records_without_a_stream_are_one_object_under_its_day(moto: Aws) -> None:
    bucket = moto.bucket()
    client = moto.client("s3")
    assert _put(S3Sink(client, bucket, "lake/api/readings"), [b'{"at": 1}', b'{"at": 2}']) == [None, None]
    (key,) = moto.keys(bucket)
    assert key.startswith("lake/api/readings/year=")
    assert key.endswith(".json")
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b'{"at": 1}\n{"at": 2}\n'
    outcomes = _put(S3Sink(client, "no-such-bucket-here", "api"), [b"{}"])
    assert outcomes[0] is not None
    assert outcomes[0].is_final
    assert _put(S3Sink(client, bucket, "late"), [b"{}"], deadline=time.monotonic()) != [None]
    assert moto.keys(bucket, "late") == []
