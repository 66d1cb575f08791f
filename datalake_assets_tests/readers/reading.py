"""Reading objects of events, without a table being written."""

from collections.abc import Mapping

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets_tests.frames import rows_of
from datalake_assets_tests.readers.bronze import loading
from datalake_assets_tests.streams import landed, stream


class Read:
    """What came of reading some objects, in one batch or several."""

    def __init__(
        self,
        objects: Mapping[str, bytes | BaseException],
        *,
        limits: Limits | None = None,
        dataset: EventStream | None = None,
    ) -> None:
        """Read the objects."""
        sized = [landed(key, size=len(o) if isinstance(o, bytes) else 10) for key, o in objects.items()]
        batches = list(EventReader(dataset or stream(), limits or Limits()).batches(loading(objects), sized))
        self.accepted = [row for batch in batches for row in rows_of(batch.accepted)]
        self.rejected = [row for batch in batches for row in batch.rejected.to_dicts()]
        self.outcomes: dict[str, ObjectOutcome] = {o.key: o for batch in batches for o in batch.outcomes}
        self.bytes_in = sum(batch.bytes_in for batch in batches)
        assert sum(o.rows_out for o in self.outcomes.values()) == len(self.accepted)

    @property
    def files(self) -> list[str]:
        """The object of each accepted record."""
        return sorted(row["source_filename"] for row in self.accepted)
