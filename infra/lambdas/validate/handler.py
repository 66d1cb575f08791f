"""AWS Lambda's entry for objects that land: `infra.lambdas.validate.handler.handler`.

S3 tells it of each new object (by itself or by way of EventBridge); an object with records that the lake will reject is
told to SNS once, within seconds of its landing. Nothing is deleted, moved or held back: the lake reads the object and
keeps the records in quarantine. Of its environment it reads

- `TOPIC_ARN`: the SNS topic;
- `BRONZE`: the landing zone, `s3://BUCKET` or `s3://BUCKET/PREFIX`. What was told is noted below `_invalid/` there;
- `CONTRACTS`: the file of contracts, by default the `contracts.json` that it is shipped with.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from datalake_assets.ingest.sources import Source, read_sources
from infra.lambdas.validate.objects import Findings, findings_in, is_judged

_SHIPPED = Path(__file__).parents[3] / "contracts.json"
_MARGIN_MILLISECONDS = 5_000
_GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "412", "PreconditionFailed"})
_LONGEST_SUBJECT = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Landed:
    """An object that S3 tells of; `etag` tells one content of a key from another."""

    bucket: str
    key: str
    etag: str


def handler(event: Mapping[str, Any], context: Any) -> dict[str, int]:
    """Look at the objects that an event names; returns how many were looked at, invalid, and told now."""
    return _validator().handle(event, context)


class Validator:
    """Looks at landed objects and tells of invalid ones."""

    def __init__(self, *, sources: Mapping[str, Source], s3: Any, sns: Any, topic: str, bronze: str) -> None:
        """Clients are boto3's; `bronze` is `s3://BUCKET` or `s3://BUCKET/PREFIX`."""
        self._sources = tuple(sources.values())
        self._s3, self._sns, self._topic = s3, sns, topic
        self._bucket, _, folder = bronze.removeprefix("s3://").partition("/")
        self._folder = f"{folder.strip('/')}/" if folder.strip("/") else ""

    def handle(self, event: Mapping[str, Any], context: Any) -> dict[str, int]:
        """As `handler`. What AWS answers in the way of errors is raised, so that Lambda tries the event again."""
        tally = {"looked_at": 0, "invalid": 0, "told": 0}
        for landed in objects_of(event):
            source = self._source_of(landed)
            found = None if source is None else self._look(landed, source, context)
            if source is None or found is None:
                continue
            tally["looked_at"] += 1
            if found.rejected:
                tally["invalid"] += 1
                tally["told"] += self._tell(landed, source, found)
        return tally

    def _source_of(self, landed: Landed) -> Source | None:
        """The source whose folder the object lies in; None for others, and for what is not judged here."""
        if landed.bucket != self._bucket or not is_judged(landed.key):
            return None
        return next((s for s in self._sources if landed.key.startswith(f"{self._folder}{s.prefix}/")), None)

    def _look(self, landed: Landed, source: Source, context: Any) -> Findings | None:
        """What is found in an object; None where it is gone or overwritten, as that is told by an event of its own."""
        from botocore.exceptions import ClientError

        condition = {"IfMatch": f'"{landed.etag}"'} if landed.etag else {}
        try:
            body = self._s3.get_object(Bucket=landed.bucket, Key=landed.key, **condition)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                _log.info("%s is gone or was overwritten", landed.key)
                return None
            raise
        with body:
            return findings_in(body.read, source, is_late=_lateness(context))

    def _tell(self, landed: Landed, source: Source, found: Findings) -> bool:
        """Publish the message about an object, unless a note says that it was; returns whether it was published now.

        The note is written after the message: a crash in between doubles the message, none loses it.
        """
        from botocore.exceptions import ClientError

        identity = f"{landed.bucket}/{landed.key}/{landed.etag}"
        note = f"{self._folder}_invalid/{hashlib.sha256(identity.encode()).hexdigest()}.json"
        try:
            self._s3.head_object(Bucket=self._bucket, Key=note)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
        else:
            return False
        message = json.dumps(_message(landed, source, found), ensure_ascii=False, indent=2)
        subject = f"{source.name}: {found.rejected} of {found.records} records of an object are invalid"
        self._sns.publish(TopicArn=self._topic, Subject=subject[:_LONGEST_SUBJECT], Message=message)
        self._s3.put_object(Bucket=self._bucket, Key=note, Body=message.encode(), ContentType="application/json")
        return True


def objects_of(event: Mapping[str, Any]) -> Iterator[Landed]:
    """The objects that an event names: S3's own notification (its keys are escaped), or EventBridge's; else none."""
    if event.get("source") == "aws.s3":
        told = event["detail"]["object"]
        yield Landed(event["detail"]["bucket"]["name"], told["key"], told.get("etag", ""))
    for record in event.get("Records", ()):
        if "s3" in record and str(record.get("eventName", "ObjectCreated")).startswith("ObjectCreated"):
            told = record["s3"]["object"]
            yield Landed(record["s3"]["bucket"]["name"], unquote_plus(told["key"]), told.get("eTag", ""))


def _message(landed: Landed, source: Source, found: Findings) -> dict[str, Any]:
    return {
        **asdict(landed),
        "source": source.name,
        "records": found.records,
        "rejected": found.rejected,
        "all_of_it_was_looked_at": found.is_whole,
        "first_rejected": found.examples,
        "what_to_do": (
            "Nothing is lost: the lake accepts the other records, and keeps these with their reasons "
            f"(datalake rejects {source.name}). Mend what sends them; or, where the contract is wrong, change the "
            "dataset file and process the partition again."
        ),
    }


def _lateness(context: Any) -> Callable[[], bool]:
    """Whether it is time to come to an end."""
    if context is None:
        return lambda: False
    return lambda: bool(context.get_remaining_time_in_millis() < _MARGIN_MILLISECONDS)


@cache
def _validator() -> Validator:
    import boto3

    return Validator(
        sources=read_sources(Path(os.environ.get("CONTRACTS", _SHIPPED))),
        s3=boto3.client("s3"),
        sns=boto3.client("sns"),
        topic=os.environ["TOPIC_ARN"],
        bronze=os.environ["BRONZE"],
    )
