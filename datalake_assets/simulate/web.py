"""How the pages' events reach bronze: buffered by Firehose, a few twice, late or spoilt on the way.

Belongs here: which object holds which events of `web_events`, and their flaws. The events are made in
`visits.py`, the objects' names in `firehose.py`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from datalake_assets.simulate import firehose
from datalake_assets.simulate.delivery import Delivery
from datalake_assets.simulate.faults import Fault
from datalake_assets.simulate.simulation import HOUR, LOOK_BACK, Simulation, about, identifier
from datalake_assets.simulate.visits import WebEvent, visits

DATASET = "web_events"

_BUFFER = timedelta(minutes=15)
_BUFFER_RECORDS = 20_000
_LATE = 0.02
_LATE_SECONDS = (2 * 3600, int(LOOK_BACK.total_seconds()) - 2 * 3600)
_TWICE = 0.01
_UNKNOWN = 0.003
_REFUSED = 0.006
_FEW = 10
_REDELIVERED = 0.05
_REFUSALS = (Fault.TRUNCATED, Fault.WRONG_TYPE, Fault.MISSING_FIELD, Fault.PATTERN, Fault.NEGATIVE)
_JSON = msgspec.json.Encoder()


def web_objects(simulation: Simulation, *, hour: datetime) -> Iterator[Delivery]:
    """The objects of a landing hour, a buffer each; now and then one is delivered again."""
    dice = simulation.dice(DATASET, hour)
    buffers = max(HOUR // _BUFFER, -(-simulation.rate // _BUFFER_RECORDS))
    for number in range(buffers):
        count = simulation.rate * (number + 1) // buffers - simulation.rate * number // buffers
        if not count:
            continue
        since, until = hour + number * HOUR / buffers, hour + (number + 1) * HOUR / buffers
        delivery = web_object(dice, users=simulation.customers, count=count, since=since, until=until)
        yield delivery
        if dice.random() < _REDELIVERED:
            yield _again(delivery, dice)


def web_object(dice: Random, *, users: int, count: int, since: datetime, until: datetime) -> Delivery:
    """An object of `count` events that arrived in [since, until), by `users` customers; a few twice."""
    oldest = since + dice.random() * (until - since) / (count + 1)
    events = visits(dice, users=users, count=count, since=oldest, until=until)
    lines: list[WebEvent | msgspec.Raw] = [*events]
    flaws = _flaws(dice, count=count)
    for flaw, index in zip(flaws, dice.sample(range(count), len(flaws)), strict=True):
        match flaw:
            case Fault.LATE:
                events[index].created_at -= dice.randrange(*_LATE_SECONDS)
            case Fault.DUPLICATE:
                lines.append(events[index])
            case _:
                lines[index] = _spoilt(events[index], flaw)
    return Delivery(
        dataset=DATASET,
        key=firehose.object_key(DATASET, oldest=oldest, identifier=identifier(dice)),
        body=firehose.object_body(_JSON.encode_lines(lines)),
        records=len(lines),
        faults=Counter(flaws),
    )


def _flaws(dice: Random, *, count: int) -> list[Fault]:
    """The flaws among `count` events, one each; none that is refused in an object of a few events only."""
    refused = about(dice, count * _REFUSED) if count >= _FEW else 0
    flaws = [
        *[Fault.LATE] * about(dice, count * _LATE),
        *[Fault.DUPLICATE] * about(dice, count * _TWICE),
        *[Fault.UNKNOWN_FIELD] * about(dice, count * _UNKNOWN),
        *dice.choices(_REFUSALS, k=refused),
    ]
    return flaws[:count]


def _spoilt(event: WebEvent, flaw: Fault) -> msgspec.Raw:
    """The event's JSON text with a flaw; an unknown field is the only one that the contract lets pass."""
    text = _JSON.encode(event)
    record: dict[str, Any] = msgspec.json.decode(text)
    match flaw:
        case Fault.TRUNCATED:
            return msgspec.Raw(text[: len(text) * 2 // 3])
        case Fault.WRONG_TYPE:
            record["created_at"] = "just now"
        case Fault.MISSING_FIELD:
            del record["event_name"]
        case Fault.PATTERN:
            record["event_name"] = record["event_name"].replace(":", " ").title()
        case Fault.NEGATIVE:
            record["amount"] = -abs(record.get("amount", 1.0))
        case _:
            record["campaign"] = "autumn-mail"
    return msgspec.Raw(_JSON.encode(record))


def _again(delivery: Delivery, dice: Random) -> Delivery:
    """The object again, as after a delivery that timed out: all its good records are copies now."""
    faults = Counter(delivery.faults)
    faults[Fault.DUPLICATE] = delivery.records - sum(n for fault, n in faults.items() if fault.is_rejected)
    return replace(delivery, key=firehose.retried_key(delivery.key, identifier=identifier(dice)), faults=faults)
