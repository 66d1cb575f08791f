"""The validation of what lands: an invalid object is told once, a valid one never, nothing is changed."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.readers.event_text import event_texts
from datalake_assets.lake.readers.records import RecordReader
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.ingest.requests import DECLARED, Context, click, sources
from infra.lambdas.validate.handler import Validator, objects_of
from infra.lambdas.validate.objects import findings_in

_CLICKS = EventStream.model_validate(
    {
        "name": "clicks",
        "kind": "event_stream",
        "description": "Clicks.",
        "owner": "team:test",
        "landing": {"prefix": "firehose/clicks"},
        "key": ["id"],
        "event_time": {"column": "at", "unit": "s"},
        "schema": DECLARED["clicks"]["schema"],
    }
)


class Zone:
    """A landing zone on S3, a topic whose messages a queue keeps, and the validator between them."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.bucket = aws, aws.bucket()
        self.s3, self.sqs = aws.client("s3"), aws.client("sqs")
        sns = aws.client("sns")
        topic = sns.create_topic(Name=self.bucket)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self.validator = Validator(
            sources=sources(), s3=self.s3, sns=sns, topic=topic, bronze=f"s3://{self.bucket}/lake"
        )

    def land(self, key: str, body: bytes) -> dict[str, Any]:
        """Land an object; returns what S3 tells of it."""
        etag = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"].strip('"')
        told = {"bucket": {"name": self.bucket}, "object": {"key": key.replace("=", "%3D"), "eTag": etag}}
        return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": told}]}

    def messages(self) -> list[dict[str, Any]]:
        """The messages that the topic published since they were last asked for."""
        told = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in told:
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in told]


@pytest.fixture
def zone(moto: Aws) -> Zone:
    return Zone(moto)


def _lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_an_invalid_object_is_told_once_with_counts_and_reasons(zone: Zone) -> None:
    body = gzip.compress(_lines(click(1), click(2, amount=-1), {"at": 1}))
    event = zone.land("lake/firehose/clicks/2026/01/01/00/a.gz", body)
    assert zone.validator.handle(event, Context()) == {"looked_at": 1, "invalid": 1, "told": 1}
    assert zone.validator.handle(event, Context()) == {"looked_at": 1, "invalid": 1, "told": 0}
    (message,) = zone.messages()
    assert message["Subject"] == "clicks: 2 of 3 records of an object are invalid"
    told = json.loads(message["Message"])
    assert (told["bucket"], told["key"]) == (zone.bucket, "lake/firehose/clicks/2026/01/01/00/a.gz")
    assert (told["records"], told["rejected"], told["all_of_it_was_looked_at"]) == (3, 2, True)
    assert told["first_rejected"][0] == {
        "record": 2,
        "errors": [{"pointer": "/amount", "rule": "minimum", "message": "-1 is less than the minimum of 0"}],
    }
    assert "datalake rejects clicks" in told["what_to_do"]
    assert zone.s3.get_object(Bucket=zone.bucket, Key=told["key"])["Body"].read() == body


def test_an_object_that_is_overwritten_is_told_anew_and_the_old_one_no_more(zone: Zone) -> None:
    first = zone.land("lake/firehose/clicks/a", b"{}")
    second = zone.land("lake/firehose/clicks/a", b'{"id": 1}')
    assert zone.validator.handle(first, Context())["looked_at"] == 0
    assert zone.validator.handle(second, Context())["told"] == 1
    assert len(zone.messages()) == 1


def test_objects_that_are_gone_or_belong_to_no_source_are_left_alone(zone: Zone) -> None:
    gone = zone.land("lake/firehose/clicks/b", b"{}")
    zone.s3.delete_object(Bucket=zone.bucket, Key="lake/firehose/clicks/b")
    events = [
        gone,
        zone.land("lake/dms/public/orders/LOAD1.csv", b"no"),
        zone.land("firehose/clicks/outside-of-the-zone", b"no"),
        zone.land("lake/firehose/clicks2/a", b"no"),
        zone.land("lake/_invalid/a.json", b"{}"),
        zone.land("lake/firehose/clicks/2026/a.parquet", b"no"),
        zone.land("lake/firehose/clicks/processing-failed/2026/a", b"{}"),
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": zone.bucket},
        {"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {}}]},
    ]
    assert [zone.validator.handle(event, Context())["looked_at"] for event in events] == [0] * len(events)
    assert zone.messages() == []


def test_both_forms_of_events_name_their_objects() -> None:
    notification = {
        "Records": [
            {
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": "a%2Fb+c%3D", "eTag": "e"}},
            }
        ]
    }
    bridge = {"source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "a/b c=", "etag": "e"}}}
    assert list(objects_of(notification)) == list(objects_of(bridge))


def _found(body: bytes, *, source: str = "clicks", late: bool = False) -> tuple[int, int]:
    found = findings_in(lambda size: body[:size], sources()[source], is_late=lambda: late)
    return found.records, found.rejected


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (0, 0)),
        (b"\n\n", (0, 0)),
        (b"\xef\xbb\xbf" + _lines(click(1)), (1, 0)),
        (_lines(click(1), click(2)).replace(b"\n", b""), (2, 0)),
        (_lines(click(1), click(2)).replace(b"\n", b"\r\n"), (2, 0)),
        (json.dumps([click(1), click(2)], indent=2).encode(), (2, 0)),
        (_packed(_lines(click(1))) + _packed(_lines(click(2))), (2, 0)),
        (_packed(_packed(_lines(click(1)))), (1, 0)),
        (b"PAR1 and so on", (0, 0)),
        (_lines(click(1)) + b"{broken\n" + _lines(click(2)), (3, 1)),
        (_lines(click(1)) + b'{"id": "a", "at": 1', (2, 1)),
        (_lines(click(1)) + b'{"id": "\xff", "at": 1}\n', (2, 1)),
        (_packed(_lines(click(1), {}))[:-2], (3, 2)),
        (b"3\n" + _lines(click(1)), (2, 1)),
    ],
)
def test_records_are_found_in_every_form_that_lands(body: bytes, expected: tuple[int, int]) -> None:
    assert _found(body) == expected


def test_a_large_object_is_looked_at_in_part_and_its_cut_record_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.lambdas.validate.objects.MOST_BYTES", 200)
    for body in (
        _lines(*map(click, range(50))),
        _packed(_lines(*map(click, range(50)))),
        b'{"id": "' + b"a" * 300,
    ):
        found = findings_in(lambda size, body=body: body[:size], sources()["clicks"], is_late=lambda: False)  # type: ignore[misc]
        assert (found.rejected, found.is_whole) == (0, False)


def test_it_ends_in_time() -> None:
    assert _found(_lines(click(1), click(2)), late=True)[0] == 1


_WHOLE = (
    '{"id": "a", "at": 1}',
    '{"id": "a", "at": 1.0}',
    '{"id": "é", "at": 1}',
    '{\n "id": "}{",\n "at": 2}',
    '[{"id": "b", "at": 1},\n{"id": "c", "at": 2}]',
)
_PARTS = ("{}", "{", "}", "[", "]", ",", "\n", "\r\n", " ", "3", '"x"', "null", "\ufeff")
_PIECES = st.lists(st.sampled_from([*_WHOLE, *_PARTS]), max_size=6).map("".join)


@given(text=_PIECES, packing=st.integers(0, 2))
def test_what_is_told_to_be_invalid_is_rejected_by_the_lake(text: str, packing: int) -> None:
    body = text.encode()
    for _ in range(packing):
        body = gzip.compress(body)
    read = event_texts("2026/01/01/00/a", body, _CLICKS, limit=10_000)
    records = [r for part in read.texts for r in RecordReader(_CLICKS, record_bytes=10_000).parse(part.text)]
    _, rejected = _found(body)
    assert any(r.rejected for r in records) or not rejected


@given(body=st.binary(max_size=60) | st.text('{}[]",:\\n 1a', max_size=40).map(str.encode), packed=st.booleans())
def test_no_object_makes_it_raise(body: bytes, packed: bool) -> None:
    records, rejected = _found(gzip.compress(body)[: 30 + len(body)] if packed else body)
    assert 0 <= rejected <= records
