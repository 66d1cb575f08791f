"""Devices in the shop's stores: their readings, and the gateways that upload them to the ingest API.

Belongs here: the dataset `device_readings`, its objects' names and its flaws. A reading depends on its device
and its time alone, so whoever sends it again sends the same.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import msgspec

from datalake_assets.simulate.delivery import Delivery
from datalake_assets.simulate.faults import Fault
from datalake_assets.simulate.simulation import HOUR, Simulation, about, identifier

DATASET = "device_readings"

_GATEWAYS = {"north": UTC, "south": UTC, "harbour": timezone(timedelta(hours=2))}
"""Each uploads every third hour. One writes local times with their offset, as ISO 8601 has it."""

_DEVICES = 4
_INTERVAL = timedelta(minutes=15)
_PERIOD = len(_GATEWAYS) * HOUR
_PERIODS_KEPT = 8
_OFFLINE = 0.1
_NO_HUMIDITY = 0.1
_TWICE = 0.02
_REFUSED = 0.3
_FEW = 10
_REFUSALS = (Fault.OUT_OF_RANGE, Fault.MISSING_FIELD, Fault.WRONG_TYPE)
_JSON = msgspec.json.Encoder()


class Reading(msgspec.Struct):
    """One reading: degrees Celsius, relative humidity in percent (null: not sensed), battery from 0 to 1."""

    device_id: str
    reading_id: int
    measured_at: str
    temperature: float
    humidity: float | None
    battery: float
    firmware: str


def device_objects(simulation: Simulation, *, hour: datetime) -> Iterator[Delivery]:
    """What lands in an hour: a gateway's readings of the last three, and those it could not send before.

    Each hour is another gateway's. A device that is offline at an upload sends its readings with a later one.
    """
    gateway = _gateway(hour)
    on_time: list[Reading] = []
    late: list[Reading] = []
    for device in _devices(gateway):
        if not _is_offline(simulation, device, hour):
            on_time.extend(_period(simulation, device, until=hour))
            for missed in _missed(simulation, device, hour):
                late.extend(_period(simulation, device, until=missed))
    if on_time:
        dice = simulation.dice(DATASET, hour)
        at = hour + timedelta(seconds=dice.randrange(3600))
        yield _object(dice, gateway, at=at, on_time=on_time, late=late)


def device_object(simulation: Simulation, *, at: datetime) -> Delivery:
    """What a gateway uploads live: one reading of each of its devices, measured at this second."""
    gateway = _gateway(at)
    readings = [_reading(simulation, device, at.replace(microsecond=0)) for device in _devices(gateway)]
    return _object(simulation.dice(DATASET, at), gateway, at=at, on_time=readings, late=[])


def _object(dice: Random, gateway: str, *, at: datetime, on_time: list[Reading], late: list[Reading]) -> Delivery:
    """An object under its day of arrival, a few readings twice, at times one that the contract refuses."""
    lines: list[Reading | msgspec.Raw] = [*late, *on_time]
    copies = dice.sample(on_time, about(dice, len(on_time) * _TWICE))
    faults = Counter({Fault.LATE: len(late), Fault.DUPLICATE: len(copies)})
    spared = [n for n, reading in enumerate(lines) if n >= len(late) and reading not in copies]
    if len(spared) >= _FEW and dice.random() < _REFUSED:
        index, fault = dice.choice(spared), dice.choice(_REFUSALS)
        lines[index] = _spoilt(on_time[index - len(late)], fault)
        faults[fault] += 1
    lines.extend(copies)
    return Delivery(
        dataset=DATASET,
        key=f"api/devices/{at:year=%Y/month=%m/day=%d}/{gateway}-{at:%H%M%S}-{identifier(dice)}.json",
        body=_JSON.encode_lines(lines),
        records=len(lines),
        faults=faults,
    )


def _spoilt(reading: Reading, fault: Fault) -> msgspec.Raw:
    record: dict[str, Any] = msgspec.to_builtins(reading)
    match fault:
        case Fault.OUT_OF_RANGE:
            record["temperature"] = 999.9
        case Fault.MISSING_FIELD:
            del record["measured_at"]
        case _:
            record["battery"] = "low"
    return msgspec.Raw(_JSON.encode(record))


def _period(simulation: Simulation, device: str, *, until: datetime) -> list[Reading]:
    """A device's readings of the period that an upload ends."""
    return [_reading(simulation, device, until - back * _INTERVAL) for back in range(_PERIOD // _INTERVAL, 0, -1)]


def _reading(simulation: Simulation, device: str, at: datetime) -> Reading:
    dice = simulation.dice(DATASET, device, at)
    zone = _GATEWAYS[device.rpartition("-")[0]]
    return Reading(
        device_id=device,
        reading_id=int(at.timestamp()),
        measured_at=at.astimezone(zone).isoformat().replace("+00:00", "Z"),
        temperature=round(dice.gauss(19.5, 2.5), 1),
        humidity=None if dice.random() < _NO_HUMIDITY else round(dice.uniform(30, 60), 1),
        battery=round(dice.uniform(0.2, 1), 2),
        firmware=dice.choice(("2.4.1", "2.5.0")),
    )


def _missed(simulation: Simulation, device: str, upload: datetime) -> Iterator[datetime]:
    """The uploads just before this one that the device missed, as far back as it keeps readings."""
    for back in range(1, _PERIODS_KEPT):
        if not _is_offline(simulation, device, upload - back * _PERIOD):
            return
        yield upload - back * _PERIOD


def _is_offline(simulation: Simulation, device: str, upload: datetime) -> bool:
    return simulation.dice(DATASET, "offline", device, upload).random() < _OFFLINE


def _gateway(moment: datetime) -> str:
    return tuple(_GATEWAYS)[int(moment.timestamp()) // 3600 % len(_GATEWAYS)]


def _devices(gateway: str) -> list[str]:
    return [f"{gateway}-{number:02d}" for number in range(1, _DEVICES + 1)]
