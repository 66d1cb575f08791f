"""All producers in one run: a simulation's objects, hour by hour, put into bronze.

Belongs here: the order of the producers, and the names the command line uses. What lands from now on is in
`live.py`.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Event

import obstore
from obstore.store import ObjectStore

from datalake_assets.simulate import firehose
from datalake_assets.simulate.delivery import Delivery, Landed, Landing
from datalake_assets.simulate.devices import device_objects
from datalake_assets.simulate.live import follow
from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.simulation import Simulation
from datalake_assets.simulate.web import DATASET as WEB_EVENTS
from datalake_assets.simulate.web import web_objects

__all__ = ["Landed", "Simulation", "deliveries", "first_hour", "follow", "simulate"]


def simulate(
    store: ObjectStore,
    simulation: Simulation,
    *,
    stop: Event | None = None,
    progress: Callable[[Landed], None] | None = None,
) -> Landed:
    """Land the simulation's hours in a store rooted at the bronze zone; gives what this run put there.

    An object that lies there already is left as it is: a second run changes nothing, and completes a first
    one that was cut off. `stop` is looked at before each object, and `progress` called after each hour with the
    tally so far. Errors of the store are raised as such.
    """
    landing = Landing(store)
    for hour in deliveries(simulation):
        for delivery in hour:
            if stop and stop.is_set():
                return landing.landed()
            landing.put(delivery)
        if progress:
            progress(landing.landed())
    return landing.landed()


def first_hour(store: ObjectStore) -> datetime | None:
    """The first hour (UTC) of which a store has web events; None where it has none."""
    folder, parts = firehose.prefix(WEB_EVENTS), list[int]()
    for _ in ("year", "month", "day", "hour"):
        names = [path.rpartition("/")[2] for path in obstore.list_with_delimiter(store, folder)["common_prefixes"]]
        numbers = sorted(name for name in names if name.isdigit())
        if not numbers:
            return None
        folder = f"{folder}/{numbers[0]}"
        parts.append(int(numbers[0]))
    year, month, day, hour = parts
    return datetime(year, month, day, hour, tzinfo=UTC)


def deliveries(simulation: Simulation) -> Iterator[Iterator[Delivery]]:
    """The objects of each landing hour, made as they are read; the first hour begins with the load."""
    replication = Replication(simulation)
    for hour in simulation.landing_hours():
        yield _hour(simulation, replication, hour)


def _hour(simulation: Simulation, replication: Replication, hour: datetime) -> Iterator[Delivery]:
    if hour == simulation.start:
        yield from replication.load()
    for batch in replication.hour(hour):
        yield batch.deliver()
    yield from web_objects(simulation, hour=hour)
    yield from device_objects(simulation, hour=hour)
