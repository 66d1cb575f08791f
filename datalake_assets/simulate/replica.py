"""What a faultless replica of the shop's tables holds: the answer that silver is checked against."""

from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.simulation import Simulation
from datalake_assets.simulate.tables import Customer, Order


def replica(simulation: Simulation) -> dict[str, dict[int, Order | Customer]]:
    """The live rows by table and id, after all that the simulation lands.

    The newest landed change of each key decides, in the order of the log; what is broken never counts. That
    is the shop's own state, but for keys whose newest change is still held back when the last hour ends.
    """
    replication = Replication(simulation)
    shop = replication.shop
    images: dict[str, dict[int, Order | Customer]] = {
        "orders": {**shop.orders.rows},
        "customers": {**shop.customers.rows},
    }
    positions: dict[tuple[str, int], int] = {}
    for hour in simulation.landing_hours():
        for change in (change for batch in replication.hour(hour) for change in batch.changes):
            key = change.row.id
            if change.fault or key is None or change.position <= positions.get((change.table, key), 0):
                continue
            positions[change.table, key] = change.position
            images[change.table].pop(key, None)
            if change.operation != "D":
                images[change.table][key] = change.row
    return images
