"""Data that keep arriving: small objects every few seconds, with the times of now, until told to stop.

Belongs here: the only part of the simulator that looks at a clock. What the objects hold is made by the
producers of whole hours.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Event

from obstore.store import ObjectStore

from datalake_assets.simulate.delivery import Delivery, Landed, Landing
from datalake_assets.simulate.devices import device_object
from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.simulation import HOUR, Simulation, about
from datalake_assets.simulate.web import web_object

_UPLOADS_PER_HOUR = 60


def follow(
    store: ObjectStore,
    simulation: Simulation,
    *,
    stop: Event,
    seconds_per_flush: float = 5.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[Landed], None] | None = None,
) -> Landed:
    """Go on live with a simulated shop: land what happens from now on every few seconds, until `stop` is set.

    `stop` is looked at all the time, and `progress` called with the tally so far after each flush, which is every
    `seconds_per_flush`. A flush lands one web event and one order's change at least; customers change and devices
    are read about every minute. The shop begins as the simulation left it; new ids and log positions are taken
    from the clock, so that no session gives those of another.

    Raises `ValueError` when the simulation ends later than now: its last hours would hold more than it says.
    """
    since = clock()
    if simulation.end > since:
        raise ValueError(f"the simulation ends at {simulation.end}, later than now; give it an earlier start")
    replication = Replication(simulation)
    for hour in simulation.landing_hours():
        if stop.is_set():
            return Landing(store).landed()
        replication.hour(hour)
    replication.shop.resume(since)
    landing = Landing(store)
    while not stop.wait(seconds_per_flush):
        until = clock()
        if until <= since:
            continue
        for delivery in _flush(simulation, replication, since=since, until=until):
            if stop.is_set():
                break
            landing.put(delivery)
        since = until
        if progress:
            progress(landing.landed())
    return landing.landed()


def _flush(simulation: Simulation, replication: Replication, *, since: datetime, until: datetime) -> Iterator[Delivery]:
    dice = simulation.dice("live", until)
    share = (until - since) / HOUR
    for batch in replication.flush(dice, since=since, until=until):
        yield batch.deliver()
    events = max(1, about(dice, simulation.rate * share))
    yield web_object(dice, users=simulation.customers, count=events, since=since, until=until)
    if dice.random() < _UPLOADS_PER_HOUR * share:
        yield device_object(simulation, at=until)
