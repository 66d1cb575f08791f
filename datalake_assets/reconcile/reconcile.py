"""Comparing a replicated table with its source while both go on: what still differs when silver had time to follow.

Belongs here: looks and looks again. One look is `compare.py`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.spec.drift import without_added
from datalake_assets.reconcile.compare import ROWS_IN_RANGE, Look, compare
from datalake_assets.reconcile.plan import Key, Plan, ReconcileError, make_plan
from datalake_assets.reconcile.result import Difference, Kind, Reconciliation
from datalake_assets.reconcile.silver_side import SilverSide
from datalake_assets.reconcile.source_side import SourceSide
from datalake_assets.replicate.session import Source, connected, in_words

APPLICATION = "datalake reconcile"
"""What the server calls the session."""
_LOOKS_AT_ALL = 3
_ROUNDS = 5  # of `settle` seconds for rows that change again and again
_PAUSE = 5.0
_LONGEST_VALUE = 200
_PREFIX = "dms/"


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, in seconds, and how it is waited for."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a comparison.

    `settle` is how many seconds silver has to follow a change of the source: a row counts as different when the source
    had it unchanged for so long, and silver had not. `most_keys` are kept in memory, `shown` are told with their
    columns. `ignored` columns are not compared.
    """

    settle: float = 60
    most_keys: int = 100_000
    shown: int = 20
    ignored: tuple[str, ...] = ()
    rows_in_range: int = ROWS_IN_RANGE
    clock: Clock = field(default_factory=Clock)


def source_table(dataset: Dataset) -> str:
    """The table that a dataset replicates, as its landing prefix `dms/<schema>/<table>` tells it.

    Raises `ReconcileError` where it tells none, and for a stream of events.
    """
    if not isinstance(dataset, CdcTable):
        raise ReconcileError(f"{dataset.name} is a stream of events; only a replicated table has a source to compare")
    parts = dataset.landing.prefix.removeprefix(_PREFIX).split("/")
    if not dataset.landing.prefix.startswith(_PREFIX) or len(parts) != 2:  # noqa: PLR2004 (a schema and a table)
        raise ReconcileError(
            f"the landing prefix {dataset.landing.prefix} does not tell a table, as dms/SCHEMA/TABLE does; give it by "
            "--table SCHEMA.TABLE"
        )
    return ".".join(parts)


def reconcile(
    lake: Lake, dataset: Dataset, url: str, *, table: str | None = None, ask: Ask | None = None
) -> Reconciliation:
    """Compare a replicated table's silver with the source at a URL: the declared columns, as wide as they have grown.

    Raises `ReconcileError` for what can't be compared, and `ReplicationError` for what is wrong with the source.
    """
    name = table or source_table(dataset)
    lake = lake.as_found()
    dataset = lake.datasets[dataset.name]
    if not isinstance(dataset, CdcTable):
        raise ReconcileError(f"{dataset.name} is a stream of events; only a replicated table has a source to compare")
    ask = ask or Ask()
    with in_words(url), connected(url, application=APPLICATION) as connection:
        plan = make_plan(connection, without_added(dataset), name, ignored=ask.ignored)
        return _Reconciling(lake, dataset, connection, plan, ask).run()


class _Reconciling:
    def __init__(self, lake: Lake, dataset: CdcTable, connection: Source, plan: Plan, ask: Ask) -> None:
        self.lake, self.dataset, self.plan, self.ask = lake, dataset, plan, ask
        self.source = SourceSide(connection, plan)
        self.looks = 0
        self.rows_read = 0

    def run(self) -> Reconciliation:
        """Look at all until what differs is known; more than can be remembered may be gone when it was waited for."""
        for tries in count(1):
            silver = self.silver()
            look = self.look(silver)
            different, moving = self.settled(look)
            if different or not look.is_cut_short or tries == _LOOKS_AT_ALL:
                return self.result(look, silver, different, moving)
        raise AssertionError  # the count has no end

    def look(self, silver: SilverSide) -> Look:
        """Compare one state of each side."""
        with self.source.one_state():
            look = compare(
                self.plan,
                self.source,
                silver,
                most_keys=self.ask.most_keys,
                rows_in_range=self.ask.rows_in_range,
            )
        self.looks += 1
        self.rows_read += look.rows_read
        return look

    def silver(self) -> SilverSide:
        """Silver as it is now. Raises `ReconcileError` where it has declared columns in other types."""
        now = self.lake.silver(self.dataset).open()
        declared = self.dataset.declared.columns
        if changed := [text for text in now.other_columns() if text.partition(":")[0] in declared]:
            name = self.dataset.name
            raise ReconcileError(
                f"silver/{name} has another form than is asked for ({'; '.join(changed)}); compare again after "
                f"`datalake run`, or where the dataset file was changed run `datalake rebuild {name}` first"
            )
        return SilverSide(now, self.plan)

    def settled(self, look: Look) -> tuple[list[Key], list[Key]]:
        """The keys of a look that differ for good, and those that went on changing in the source.

        A key is dropped once both sides have the same row: silver has then followed what the look saw.
        """
        clock, settle = self.ask.clock, self.ask.settle
        if settle <= 0:
            return list(look.differing), []
        began = clock.now()
        waiting = {key: (hashed, began) for key, hashed in look.differing.items()}
        different: list[Key] = []
        while waiting and clock.now() - began < _ROUNDS * settle:
            clock.wait(min(_PAUSE, settle))
            self.looks += 1
            now = clock.now()
            theirs = self.source.hashes(waiting.keys())
            ours = self.silver().hashes(waiting.keys())  # looked at later: what silver has followed, it has followed
            self.rows_read += len(theirs) + len(ours)
            for key, (hashed, since) in list(waiting.items()):
                if theirs.get(key) == ours.get(key):
                    del waiting[key]
                elif theirs.get(key) != hashed:
                    waiting[key] = (theirs.get(key), now)
                elif now - since >= settle:
                    different.append(key)
                    del waiting[key]
        return different, list(waiting)

    def result(self, look: Look, silver: SilverSide, different: list[Key], moving: list[Key]) -> Reconciliation:
        now = self.silver()
        found = Reconciliation(
            dataset=self.dataset.name,
            table=self.plan.table.full_name,
            source_rows=look.source_rows,
            silver_rows=look.silver_rows,
            silver_version=now.version,
            ranges=look.ranges,
            ranges_differing=look.ranges_differing,
            rows_read=self.rows_read,
            unsettled=len(moving),
            looks=self.looks,
            is_cut_short=look.is_cut_short,
            silver_moved=now.version != silver.version,
            left_out=self.plan.left_out,
        )
        if not different:
            return found
        theirs, ours = self.source.hashes(set(different)), now.hashes(set(different))
        kinds = {key: _kind(key in theirs, key in ours) for key in different if theirs.get(key) != ours.get(key)}
        counted = list(kinds.values())
        return replace(
            found,
            missing=counted.count("missing in silver"),
            extra=counted.count("not in the source"),
            changed=counted.count("changed"),
            shown=tuple(self.shown(sorted(kinds, key=self.plan.order)[: self.ask.shown], kinds, now)),
        )

    def shown(self, keys: list[Key], kinds: dict[Key, Kind], silver: SilverSide) -> Iterator[Difference]:
        """What is told of some keys."""
        wanted = {key for key in keys if kinds[key] == "changed"}
        theirs, ours = (side.values(wanted) if wanted else {} for side in (self.source, silver))
        for key in keys:
            named = {
                column.name: None if text is None else column.shown(text)
                for column, text in zip(self.plan.key, key, strict=True)
            }
            differing = {
                column.name: (_cut(column.shown, there), _cut(column.shown, here))
                for column, there, here in zip(self.plan.columns, theirs.get(key, ()), ours.get(key, ()), strict=False)
                if there != here
            }
            yield Difference(named, kinds[key], differing)


def _kind(in_source: bool, in_silver: bool) -> Kind:  # noqa: FBT001 (one for each side)
    if not in_silver:
        return "missing in silver"
    return "changed" if in_source else "not in the source"


def _cut(shown: Callable[[str], str], text: str | None) -> str | None:
    if text is None:
        return None
    told = shown(text)
    return told if len(told) <= _LONGEST_VALUE else f"{told[:_LONGEST_VALUE]}…"
