"""The landing sensor on a queue of S3's events: what lands is asked for, and no message goes before it is known."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError
from typer.testing import CliRunner

from datalake_assets.cli.app import app
from datalake_assets.definitions import build_definitions
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import admit
from datalake_assets.sensors.landing import SweepCursor
from datalake_assets.sensors.notifications import Message, Queue, objects_named
from datalake_assets.sensors.queued import look_at_queue
from datalake_assets.settings import Settings
from datalake_assets_tests.aws import REGION, Aws
from datalake_assets_tests.s3.proxy import Proxy
from datalake_assets_tests.sources import CLICKS, write_datasets

HOUR = "2026/01/05/09"


@dataclass
class Landing:
    """A bucket that tells a queue what lands in it, and the sensor of a lake over it."""

    aws: Aws
    bucket: str
    url: str
    settings: Settings
    instance: dg.DagsterInstance
    cursor: str | None = None
    skipped: str | None = None

    def land(self, key: str, *records: dict[str, Any]) -> None:
        body = "\n".join(map(json.dumps, records)).encode()
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=f"lake/bronze/{key}", Body=body)

    def say(self, body: str) -> None:
        self.aws.client("sqs").send_message(QueueUrl=self.url, MessageBody=body)

    def tick(self) -> list[str]:
        """The partitions that a tick asks runs for, when SQS shows again what a tick before was shown."""
        time.sleep(1.1)
        definitions = build_definitions(self.settings)
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=definitions, sensor_name="landing"
        ) as context:
            tick = definitions.resolve_sensor_def("landing").evaluate_tick(context)
        self.cursor, self.skipped = tick.cursor, tick.skip_message
        return [partition for request in tick.run_requests or [] for partition in _partitions(request)]

    def process(self) -> None:
        lake = self.settings.lake()
        dataset, now = lake.datasets["clicks"], datetime.now(UTC)
        page = lake.landing.sweep(dataset, after=None, limit=1_000, now=now)
        lake.ledger.admit(dataset, page.objects, identify=lake.landing.identified, now=now)
        partitions = tuple(sorted({landed.partition for landed in page.objects}))
        execute(StepRequest(zone="silver", name="clicks", partitions=partitions), lake=lake, engine=PolarsEngine())

    @property
    def messages(self) -> int:
        """How many messages there are, shown or hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.aws.client("sqs").get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, told.values()))


def _partitions(request: dg.RunRequest) -> Sequence[str]:
    tags = request.tags
    ends = (tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end"))
    return [request.partition_key] if request.partition_key else [f"{ends[0]} to {ends[1]}"]


@pytest.fixture
def landing(aws: Aws, tmp_path: Path, instance: dg.DagsterInstance, proxy: Proxy) -> Landing:
    """The bucket's queue shows a message again after a second; a round of listing has just ended."""
    bucket = aws.bucket()
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=bucket, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "QueueArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "lake/bronze/"}]}},
                }
            ]
        },
    )
    settings = Settings(
        root=f"s3://{bucket}/lake",
        datasets=write_datasets(tmp_path / "datasets", CLICKS),
        sensor="sqs",
        queue_url=url,
    )
    made = Landing(aws, bucket, url, settings, instance)
    made.cursor = SweepCursor(round_at=datetime.now(UTC)).model_dump_json()
    return made


def test_what_lands_is_asked_for_and_its_message_goes_when_the_ledger_knows_it(landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a b+c.gz.json", {"id": "1", "at": 1_767_600_000})
    landing.tick()
    assert landing.messages == 1, "the bucket's test event is gone, the object's message is not"
    assert landing.tick() == ["2026-01-05-09:00"], "as nobody has made the run, it is asked for again"
    landing.process()
    assert landing.tick() == []
    assert landing.messages == 0


def test_an_object_that_is_admitted_and_not_read_yet_is_asked_for_without_its_message(landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "1", "at": 1_767_600_000})
    lake = landing.settings.lake()
    admit(lake, lake.datasets["clicks"], ["2026-01-05-09:00"], now=datetime.now(UTC))
    assert landing.tick() == ["2026-01-05-09:00"]
    assert landing.messages == 0
    assert landing.tick() == ["2026-01-05-09:00"]


def test_a_lost_message_costs_a_wait_until_the_next_listing(landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "1", "at": 1_767_600_000})
    landing.aws.client("sqs").purge_queue(QueueUrl=landing.url)
    assert landing.tick() == []
    ago = datetime.now(UTC) - timedelta(minutes=landing.settings.reconcile_minutes)
    landing.cursor = SweepCursor(round_at=ago).model_dump_json()
    assert landing.tick() == ["2026-01-05-09:00"]
    round_at = SweepCursor.parse(landing.cursor).round_at
    assert round_at is not None
    assert round_at > ago


@pytest.mark.parametrize("cursor", [None, "nonsense"])
def test_a_lost_cursor_begins_a_listing(cursor: str | None, landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "1", "at": 1_767_600_000})
    landing.aws.client("sqs").purge_queue(QueueUrl=landing.url)
    landing.cursor = cursor
    assert landing.tick() == ["2026-01-05-09:00"]


def test_messages_come_in_any_order_and_twice(landing: Landing) -> None:
    keys = [f"firehose/clicks/2026/01/05/{hour:02}/a.json" for hour in (7, 5, 6)]
    for key in keys:
        landing.land(key, {"id": key, "at": 1_767_600_000})
        landing.say(_notification(landing.bucket, f"lake/bronze/{key}"))
    assert landing.tick() == ["2026-01-05-05:00 to 2026-01-05-07:00"]
    landing.process()
    assert landing.tick() == []
    assert landing.messages == 0


def test_an_object_that_is_overwritten_is_asked_for_again(landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "1", "at": 1_767_600_000})
    landing.process()
    landing.tick()
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "2", "at": 1_767_600_000})
    assert landing.tick() == ["2026-01-05-09:00"]
    assert landing.messages == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"}',
        "no JSON",
        "[]",
        "7",
        '{"Records": [{"eventSource": "aws:kinesis"}]}',
        '{"source": "aws.s3", "detail": {}}',
        '{"Records": [{"s3": {"bucket": {"name": "another"}, "object": {"key": "firehose/clicks/a"}}}]}',
    ],
)
def test_a_message_about_nothing_of_the_lake_is_deleted(body: str, landing: Landing) -> None:
    landing.say(body)
    assert landing.tick() == []
    assert landing.messages == 0


def test_messages_about_what_is_gone_no_data_or_no_dataset_are_deleted(landing: Landing) -> None:
    landing.land("firehose/clicks/2026/01/05/09/_SUCCESS")
    landing.land("firehose/others/2026/01/05/09/a.json", {"id": "1"})
    landing.say(_notification(landing.bucket, f"lake/bronze/firehose/clicks/{HOUR}/deleted.json"))
    landing.say(_notification(landing.bucket, f"lake/bronze/firehose/clicks/{HOUR}//odd.json"))
    assert landing.tick() == []
    assert landing.messages == 0


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: json.dumps({"Type": "Notification", "Message": m})])
def test_keys_are_told_by_every_way_a_notification_takes(wrap: Callable[[str], str]) -> None:
    s3 = json.dumps({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "a/x+y%2Bz%C3%A9"}}}]})
    assert objects_named(wrap(s3)) == {("b", "a/x y+zé")}
    bridge = {"source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "a/x y.json"}}}
    assert objects_named(wrap(json.dumps(bridge))) == {("b", "a/x y.json")}


def test_events_by_way_of_event_bridge_are_understood(landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a=b+c.json", {"id": "1", "at": 1_767_600_000})
    landing.aws.client("sqs").purge_queue(QueueUrl=landing.url)
    key = f"lake/bronze/firehose/clicks/{HOUR}/a=b+c.json"
    detail = {"bucket": {"name": landing.bucket}, "object": {"key": key}}
    landing.say(json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail}))
    assert landing.tick() == ["2026-01-05-09:00"]
    landing.process()
    landing.tick()
    assert landing.messages == 0


def test_of_ten_thousand_messages_a_look_takes_as_many_as_it_may_and_the_next_the_rest(landing: Landing) -> None:
    queue = _Full(landing.url, 10_000, _notification(landing.bucket, f"lake/bronze/firehose/clicks/{HOUR}/gone.json"))
    lake = landing.settings.lake()
    looks = [look_at_queue(lake, queue, now=datetime.now(UTC), seconds=600) for _ in range(3)]
    assert [(look.received, look.deleted) for look in looks] == [(5_000, 5_000), (5_000, 5_000), (0, 0)]


def test_objects_for_which_time_does_not_suffice_are_named_again(landing: Landing) -> None:
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "1", "at": 1_767_600_000})
    message = _notification(landing.bucket, f"lake/bronze/firehose/clicks/{HOUR}/a.json")
    late = look_at_queue(landing.settings.lake(), _Full(landing.url, 1, message), now=datetime.now(UTC), seconds=0.0)
    assert (late.received, late.deleted, late.work["clicks"].waiting) == (1, 0, {})


def test_a_queue_that_is_not_named_is_told_without_what_was_not_given() -> None:
    """The message ended with ", not None"."""
    result = CliRunner().invoke(app, ["status"], env={"DATALAKE_ROOT": "s3://b/lake", "DATALAKE_SENSOR": "sqs"})
    told = "DATALAKE_QUEUE_URL: DATALAKE_SENSOR=sqs needs the URL of the queue to which S3 tells what lands\n"
    assert (result.exit_code, result.stderr) == (2, told)


def _no_such_queue(landing: Landing, _: pytest.MonkeyPatch) -> str:
    landing.settings = landing.settings.model_copy(update={"queue_url": f"{landing.url}-of-another"})
    return "QueueDoesNotExist"


def _no_region(_: Landing, patch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        patch.delenv(name)
    patch.setenv("AWS_CONFIG_FILE", "/dev/null")
    return "NoRegionError"


def _no_network(_: Landing, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")
    return "EndpointConnectionError"


def _no_rights(_: Landing, patch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object, **__: object) -> list[Message]:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no\n sqs:ReceiveMessage"}}, "ReceiveMessage")

    patch.setattr(Queue, "receive", refuse)
    return "ClientError: An error occurred (AccessDenied) when calling the ReceiveMessage operation: no sqs:Receive"


@pytest.mark.parametrize("fault", [_no_such_queue, _no_region, _no_network, _no_rights])
def test_a_queue_that_fails_does_not_stop_landing(
    fault: Callable[[Landing, pytest.MonkeyPatch], str], landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick failed, and nothing was processed until somebody looked at the sensor."""
    told = fault(landing, monkeypatch)
    landing.land(f"firehose/clicks/{HOUR}/a.json", {"id": "1", "at": 1_767_600_000})
    assert landing.tick() == ["2026-01-05-09:00"]
    landing.process()
    assert landing.tick() == []
    assert landing.skipped is not None
    assert (
        f"the queue of DATALAKE_QUEUE_URL, {landing.settings.queue_url}, can't be used, and bronze is"
        in landing.skipped
    )
    assert told in landing.skipped


def test_the_region_of_the_stores_is_that_of_the_queue_too(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert Queue(landing.url).receive(seconds=1, most=10)


class _Full(Queue):
    """A queue with some messages that all say the same, at whatever time it is asked."""

    def __init__(self, url: str, messages: int, body: str) -> None:
        super().__init__(url)
        self.left = [Message(str(number), objects_named(body)) for number in range(messages)]

    def receive(self, *, seconds: float, most: int) -> list[Message]:
        assert seconds >= 0
        return self.left[:most]

    def delete(self, messages: Iterable[Message]) -> None:
        gone = {message.receipt for message in messages}
        self.left = [message for message in self.left if message.receipt not in gone]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"root": "s3://b/lake", "sensor": "sqs"}, "needs the URL of the queue"),
        ({"root": "s3://b/lake", "sensor": "sqs", "queue_url": "my-queue"}, "'my-queue' is no queue's URL; write one"),
        ({"root": "s3://b/lake", "sensor": "sqs", "queue_url": "arn:aws:sqs:eu-west-1:1:q"}, "is no queue's URL"),
        ({"root": "s3://b/lake", "sensor": "sqs", "queue_url": "sqs://1/q"}, "is no queue's URL"),
        ({"root": ".lake", "sensor": "sqs", "queue_url": "https://sqs/1/q"}, "needs a bronze zone in S3"),
    ],
)
def test_a_queue_is_asked_for_with_its_url_and_a_bucket(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Settings(**settings)


def _notification(bucket: str, key: str) -> str:
    record = {"awsRegion": REGION, "eventName": "ObjectCreated:Put"}
    return json.dumps({"Records": [{**record, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]})
