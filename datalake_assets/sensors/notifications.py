"""What S3 says of objects, in the messages of a queue: which objects they name, and the queue itself.

Belongs here: bodies and receipts. What an object that is named means for the lake is asked of it in `queued.py`.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from datalake_assets.resources import clients

_MOST_AT_ONCE = 10  # messages that SQS gives or takes at once
_HOST = re.compile(r"(?:sqs|queue)\.([a-z0-9-]+)\.amazonaws\.com|([a-z0-9-]+)\.queue\.amazonaws\.com")


@dataclass(frozen=True, slots=True)
class Message:
    """A message and its receipt, which is good until the message is shown again; `objects` are (bucket, key)."""

    receipt: str
    objects: frozenset[tuple[str, str]]


def objects_named(body: str) -> frozenset[tuple[str, str]]:
    """The objects that a message names, as (bucket, key); none for a test event or what is no message of S3's.

    Knows S3's own notifications, also by way of SNS, and S3's events by way of EventBridge. Keys of the former are
    escaped; of the latter as they are, but some senders escape them: then both names are told.
    """
    try:
        told = json.loads(body)
        if isinstance(told, dict) and isinstance(told.get("Message"), str):
            told = json.loads(told["Message"])
        return frozenset(_named(told))
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def _named(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if told.get("source") == "aws.s3":
        bucket, key = str(told["detail"]["bucket"]["name"]), str(told["detail"]["object"]["key"])
        yield from ((bucket, key), (bucket, unquote_plus(key)))
    for record in told.get("Records", ()):
        yield str(record["s3"]["bucket"]["name"]), unquote_plus(str(record["s3"]["object"]["key"]))


class Queue:
    """An SQS queue by its URL. What boto3 raises is raised."""

    def __init__(self, url: str) -> None:
        import boto3
        from botocore.config import Config

        region = _HOST.search(urlsplit(url).netloc)
        self._url = url
        self._client = boto3.client(
            "sqs",
            region_name=(region[1] or region[2]) if region else clients.region(),
            config=Config(connect_timeout=5, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}),
        )

    def receive(self, *, seconds: float, most: int) -> list[Message]:
        """The messages that are to be had now; ends after some seconds, or with that many messages."""
        until, found = time.monotonic() + seconds, dict[str, Message]()
        while len(found) < most and time.monotonic() < until:
            answer = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=_MOST_AT_ONCE)
            messages = answer.get("Messages", [])
            if all(m["MessageId"] in found for m in messages):  # none are left, or those before are shown again
                break
            found |= {m["MessageId"]: Message(m["ReceiptHandle"], objects_named(m["Body"])) for m in messages}
        return list(found.values())

    def delete(self, messages: Iterable[Message]) -> None:
        """Delete messages; one that can't be deleted now is shown again."""
        left = list(messages)
        for start in range(0, len(left), _MOST_AT_ONCE):
            some = left[start : start + _MOST_AT_ONCE]
            entries = [{"Id": str(n), "ReceiptHandle": m.receipt} for n, m in enumerate(some)]
            self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
