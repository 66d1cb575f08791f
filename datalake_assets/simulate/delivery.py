"""Putting made objects into bronze, once.

Belongs here: one object on its way, the put, and the tally. What is in the objects is told elsewhere.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore

from datalake_assets.lake.store.object_store import answered
from datalake_assets.simulate.faults import Fault


@dataclass(frozen=True, slots=True)
class Delivery:
    """One object as its producer made it: `key` is relative to bronze.

    `records` tells how many are in it, `faults` how many of them have which. `modified` is set for an object
    whose key tells no time: then last-modified tells its partition.
    """

    dataset: str
    key: str
    body: bytes
    records: int
    faults: Mapping[Fault, int]
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """What a run put into bronze; objects that lay there already count in `present` and nowhere else.

    `bytes` is the size of the objects, `records` and `faults` are per dataset. Of a dataset's records, those
    neither `rejected` nor `Fault.DUPLICATE` are distinct and good: silver must hold each event of them.
    """

    objects: int
    present: int
    bytes: int
    records: Mapping[str, int]
    faults: Mapping[str, Mapping[Fault, int]]

    def rejected(self, dataset: str) -> int:
        """How many of a dataset's landed records its contract refuses."""
        return sum(n for fault, n in self.faults.get(dataset, {}).items() if fault.is_rejected)


@dataclass(slots=True)
class Landing:
    """A store rooted at bronze, and the tally of what was put there."""

    store: ObjectStore
    _objects: int = 0
    _present: int = 0
    _bytes: int = 0
    _records: Counter[str] = field(default_factory=Counter)
    _faults: dict[str, Counter[Fault]] = field(default_factory=dict)

    def put(self, delivery: Delivery) -> None:
        """Put the object unless its key is taken: a landed object never changes, whoever runs this twice."""
        self._records.setdefault(delivery.dataset, 0)
        faults = self._faults.setdefault(delivery.dataset, Counter())
        try:
            self._create(delivery)
        except AlreadyExistsError:
            self._present += 1
            return
        self._objects += 1
        self._bytes += len(delivery.body)
        self._records[delivery.dataset] += delivery.records
        faults.update(delivery.faults)

    def landed(self) -> Landed:
        """The tally so far."""
        return Landed(
            objects=self._objects,
            present=self._present,
            bytes=self._bytes,
            records=dict(self._records),
            faults={dataset: dict(+faults) for dataset, faults in self._faults.items()},
        )

    def _create(self, delivery: Delivery) -> None:
        """Create the object, with its time of modification where that can be chosen (S3 has no such choice).

        The time is set before the object gets its name, at the root of bronze, which is no dataset's folder: so no
        listing ever sees it with another one.
        """
        if delivery.modified is None or not isinstance(self.store, LocalStore) or self.store.prefix is None:
            answered(lambda: obstore.put(self.store, delivery.key, delivery.body, mode="create"))
            return
        unnamed = f"_{delivery.key.replace('/', '-')}"
        obstore.put(self.store, unnamed, delivery.body)
        moment = delivery.modified.timestamp()
        os.utime(self.store.prefix / unnamed, (moment, moment))
        try:
            obstore.rename(self.store, unnamed, delivery.key, overwrite=False)
        except AlreadyExistsError:
            obstore.delete(self.store, unnamed)
            raise
