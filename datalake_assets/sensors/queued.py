"""What the messages of S3's queue mean for the lake: objects that wait, and messages that have done their work.

A message is deleted when the ledger knows its object, or there is no such object. Until then SQS shows it again after
its visibility timeout: nothing about it is kept here, so a daemon may die at any moment. A lost message costs a wait
until the next listing, a doubled one a look at the ledger.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import LandingWork, waiting_work
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.sensors.notifications import Message, Queue

_LOOKS_AT_ONCE = 16
_MOST_MESSAGES = 5_000
_FOR_RECEIVING = 0.4
"""The share of a tick's time in which messages are received; the rest is for looking at their objects."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits by dataset; how many messages were received, deleted, and named nothing of the lake's."""

    work: dict[str, LandingWork] = field(default_factory=dict)
    received: int = 0
    deleted: int = 0
    foreign: int = 0

    @property
    def told(self) -> str:
        """In words."""
        of_these = f"{self.deleted:,} of them deleted, {self.foreign:,} not about the lake's objects"
        return f"{self.received:,} messages, {of_these}"


def look_at_queue(lake: Lake, queue: Queue, *, now: datetime, seconds: float) -> Queued:
    """Receive messages for some seconds, find what waits of the objects that they name, delete those that are done.

    Of a dataset also what the ledger knows already and has waiting is told. Objects that time does not suffice for are
    named again. Raises what boto3 and the storage raise.
    """
    until = time.monotonic() + seconds
    messages = queue.receive(seconds=seconds * _FOR_RECEIVING, most=_MOST_MESSAGES)
    keys = _by_dataset(lake, messages)
    done: set[str] = set()
    work = {}
    for name, dataset in lake.datasets.items():
        landed, gone = _looked_at(lake, dataset, keys.get(name, []), now=now, until=until)
        known = lake.ledger.known(dataset, landed, identify=lake.landing.identified, now=now)
        done |= gone | known
        work[name] = waiting_work(lake, dataset, landed, now=now, with_known=True)
    bronze = set().union(*keys.values())
    finished = [m for m in messages if all(k in done for k in _keys(lake, m) if k in bronze)]
    foreign = sum(1 for m in messages if not any(k in bronze for k in _keys(lake, m)))
    queue.delete(finished)
    return Queued(work, len(messages), len(finished), foreign)


def _keys(lake: Lake, message: Message) -> list[str]:
    """The keys, relative to bronze, of the objects that a message names there."""
    bucket, _, prefix = lake.layout.bronze.partition("://")[2].partition("/")
    start = f"{prefix}/" if prefix else ""
    return [key[len(start) :] for place, key in message.objects if place == bucket and key.startswith(start)]


def _by_dataset(lake: Lake, messages: list[Message]) -> dict[str, list[str]]:
    """The keys that messages name, sorted, by the dataset below whose prefix they lie."""
    keys = sorted({key for message in messages for key in _keys(lake, message)})
    prefixes: Mapping[str, str] = {name: f"{dataset.landing.prefix}/" for name, dataset in lake.datasets.items()}
    return {name: [key for key in keys if key.startswith(prefix)] for name, prefix in prefixes.items()}


def _looked_at(
    lake: Lake, dataset: Dataset, keys: list[str], *, now: datetime, until: float
) -> tuple[list[LandedObject], set[str]]:
    """The objects under some keys, as many as can be looked at in time; and the keys under which there is no data."""
    landed: list[LandedObject] = []
    gone: set[str] = set()

    def look(key: str) -> LandedObject | bool:
        return time.monotonic() < until and (lake.landing.landed(dataset, key, now=now) or True)

    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        for key, found in zip(keys, pool.map(look, keys), strict=True):
            if isinstance(found, LandedObject):
                landed.append(found)
            elif found:
                gone.add(key)
    return landed, gone
