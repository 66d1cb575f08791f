"""One look at a table on both sides: ranges of keys whose hashes differ are split until their rows can be compared.

Belongs here: what is asked of the sides, and in which order. What a difference is worth is decided in `reconcile.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from datalake_assets.reconcile.plan import Key, Plan, Range, split
from datalake_assets.reconcile.silver_side import SilverSide
from datalake_assets.reconcile.source_side import SourceSide

Side = SourceSide | SilverSide

ROWS_IN_RANGE = 5_000
"""A range with so many rows is not split any more: its rows are compared."""
_MOST_PARTS = 1_024
_RANGES_AT_ONCE = 16
_SAMPLED = 4  # keys for each range that is to be


@dataclass(slots=True)
class Look:
    """What one look found: keys whose rows differ, with the hash that the source has (None: no such row).

    `rows_read` counts rows whose keys and hashes were fetched from either side: none where all hashes agree. Where
    `is_cut_short`, more keys differ than were asked for.
    """

    source_rows: int = 0
    silver_rows: int = 0
    ranges: int = 0
    ranges_differing: int = 0
    rows_read: int = 0
    is_cut_short: bool = False
    differing: dict[Key, int | None] = field(default_factory=dict)


class _Comparison:
    def __init__(
        self, plan: Plan, source: SourceSide, silver: SilverSide, *, most_keys: int, rows_in_range: int
    ) -> None:
        self.plan, self.source, self.silver = plan, source, silver
        self.most_keys, self.rows_in_range = most_keys, rows_in_range
        self.look = Look()

    def run(self) -> None:
        everything = Range(rows=(0, self.silver.row_count))
        differing = self.measured([everything])
        self.look.ranges_differing = len(differing)
        self.descend(differing)

    def descend(self, differing: Sequence[Range]) -> None:
        """Split or read ranges that differ, a few at a time: the keys that are found are bounded, not the ranges."""
        for is_read, group in groupby(differing, key=self.is_read):
            for some in _lots(list(group), rows=self.rows_in_range * _RANGES_AT_ONCE if is_read else None):
                if self.look.is_cut_short:
                    return
                if is_read:
                    self.read(some)
                else:
                    self.descend(self.measured(some))

    def is_read(self, one: Range) -> bool:
        """Whether a range's rows are read: there are few, or one side has none."""
        return one.most_rows <= self.rows_in_range or min(one.rows) == 0

    def measured(self, within: Sequence[Range]) -> list[Range]:
        """Ranges cut into parts, and those of them whose counts or hashes differ."""
        cuts = self.cuts(within)
        parts = split(within, cuts)
        # Between two ranges that differ lie others; their keys are not asked for, but bounds are counted on.
        bounds = [key for part in parts for key in (part.first, part.end) if key is not None]
        bounds = sorted(set(bounds), key=self.plan.order)
        number = {key: n for n, key in enumerate(bounds, start=1)}
        theirs, ours = (side.aggregates(within, bounds) for side in (self.source, self.silver))
        self.look.ranges += len(parts)
        if within[0].first is None and within[0].end is None:
            self.look.source_rows = sum(rows for rows, _ in theirs.values())
            self.look.silver_rows = sum(rows for rows, _ in ours.values())
        differing = []
        for part in parts:
            bucket = 0 if part.first is None else number[part.first]
            there, here = theirs.get(bucket, (0, 0)), ours.get(bucket, (0, 0))
            if there != here:
                differing.append(Range(part.first, part.end, (there[0], here[0])))
        # What could not be cut is read as it is.
        return differing if len(parts) > len(within) or self.is_first(within) else self.read_whole(differing)

    def is_first(self, within: Sequence[Range]) -> bool:
        """Whether these ranges are all of the table, of whose rows in the source nothing is known yet."""
        return within[0].first is None and within[0].end is None and within[0].rows[0] == 0

    def read_whole(self, differing: Sequence[Range]) -> list[Range]:
        """Read ranges that no key parts."""
        self.read(differing)
        return []

    def cuts(self, within: Sequence[Range]) -> list[list[Key]]:
        """Where to cut ranges, by a sample of the keys of the side that has more rows there."""
        parts = [min(_MOST_PARTS // len(within), -(-one.most_rows // self.rows_in_range)) for one in within]
        found: list[list[Key]] = [[] for _ in within]
        for of_source in (True, False):
            chosen = [n for n, one in enumerate(within) if (one.rows[0] > one.rows[1]) is of_source and parts[n] > 1]
            if not chosen:
                continue
            ranges = [within[n] for n in chosen]
            rows = sum(one.most_rows for one in ranges)
            every = max(1, rows // (_SAMPLED * sum(parts[n] for n in chosen)))
            side: Side = self.source if of_source else self.silver
            keys = side.sample(ranges, every=every)
            for n in chosen:
                found[n] = self.plan.bounds(keys, within[n], parts=parts[n])
        return found

    def read(self, ranges: Sequence[Range]) -> None:
        """Compare the rows of some ranges by their hashes; where one side has none, the other's keys are enough."""
        room = self.most_keys - len(self.look.differing)
        both = [one for one in ranges if min(one.rows) > 0]
        if both:
            theirs, ours = dict(self.source.rows(both)), dict(self.silver.rows(both))
            self.look.rows_read += len(theirs) + len(ours)
            keys = [key for key in theirs | ours if theirs.get(key) != ours.get(key)]
            self.look.is_cut_short |= len(keys) > room
            self.look.differing |= {key: theirs.get(key) for key in keys[:room]}
        for in_source in (True, False):
            alone = [one for one in ranges if min(one.rows) == 0 and (one.rows[0] > 0) is in_source]
            if alone:
                side: Side = self.source if in_source else self.silver
                self.take(side.rows(alone), in_source=in_source)

    def take(self, rows: Iterator[tuple[Key, int]], *, in_source: bool) -> None:
        for key, hashed in rows:
            if len(self.look.differing) >= self.most_keys:
                self.look.is_cut_short = True
                return
            self.look.rows_read += 1
            self.look.differing[key] = hashed if in_source else None


def compare(
    plan: Plan, source: SourceSide, silver: SilverSide, *, most_keys: int, rows_in_range: int = ROWS_IN_RANGE
) -> Look:
    """Compare one state of a table in the source with one of silver.

    Both sides are aggregated once, in as many ranges of keys as there are `rows_in_range` in silver (up to a thousand).
    Ranges that differ are cut again until they are that small; then the keys and hashes of their rows are compared.
    Ends when `most_keys` are found. The sides' rows must not change meanwhile (`SourceSide.one_state`).
    """
    comparison = _Comparison(plan, source, silver, most_keys=most_keys, rows_in_range=rows_in_range)
    comparison.run()
    return comparison.look


def _lots(ranges: Sequence[Range], *, rows: int | None) -> Iterator[list[Range]]:
    """Ranges in lots of a few, also by their rows where these are to be read."""
    lot: list[Range] = []
    for one in ranges:
        full = len(lot) == _RANGES_AT_ONCE or (rows is not None and sum(r.most_rows for r in lot) >= rows)
        if lot and full:
            yield lot
            lot = []
        lot.append(one)
    if lot:
        yield lot
