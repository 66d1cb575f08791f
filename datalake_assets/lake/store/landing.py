"""Landed objects: what lies in bronze, found at a cost that follows what is new.

Belongs here: which objects are data, and the partition of each. How a place is listed and read is told in `objects`;
what the lake already knows of an object is the ledger's affair.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from heapq import merge
from operator import itemgetter

from obstore.exceptions import InvalidPathError, PermissionDeniedError
from obstore.store import LocalStore, ObjectStore

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.key_times import FIRST, LAST, folder_dates, named_time, names_before
from datalake_assets.lake.store.object_store import is_remote, open_object_store
from datalake_assets.lake.store.objects import NOTHING, Listed, Listing, MissingObjectError, Objects, stamped

_DAY_LENGTH = len("2026-01-31")
_LOAD_NAME = re.compile(r"(?:^|_)LOAD[0-9A-F]{8}\b")
_OTHER_FOLDER = re.compile(r"(?:^|/)(?:(?:awsdms|attrep)_[^/]*|_temporary)/")
_DROPPING = re.compile(
    r"_SUCCESS|_(?:committed|started)_(?:vacuum)?\d+|\.DS_Store|\.[^/]*\.crc|[^/]*_\$folder\$"
)  # of Spark, Databricks, macOS, and Hadoop twice
_STAGED = re.compile(r"#\d+\Z", re.ASCII)
_STAGED_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, order=True)
class LandedObject:
    """One immutable object in bronze.

    `key` is its path relative to bronze; `etag` (or version) and `size` in bytes make it this object and no later
    one of the same key: a reload of a DMS table writes the same names again. `etag` is empty while only reading the
    bytes could tell it; `stamp` is by what a listing recognises the object without that. `partition` is the landing
    hour or day.
    """

    key: str
    etag: str
    size: int
    last_modified: datetime
    partition: str
    stamp: str = ""

    @property
    def identity(self) -> tuple[str, str, int]:
        """What tells one landed object from another."""
        return self.key, self.etag, self.size


@dataclass(frozen=True, slots=True)
class Page:
    """What a look at bronze found, in the order of the keys.

    `position` is the key to go on after where the look was a piece of a sweep (None: it has come round), `unlisted`
    one line for each folder that could not be listed, with its reason.
    """

    objects: list[LandedObject]
    position: str | None = None
    unlisted: tuple[str, ...] = ()


def open_store(place: str) -> ObjectStore:
    """The store into which producers put: a local folder (made when missing) or `s3://bucket/prefix`."""
    return open_object_store(place) if is_remote(place) else LocalStore(prefix=place, mkdir=True)


@dataclass(frozen=True, slots=True)
class LandingZone:
    """Bronze as the lake sees it: landed objects by dataset and partition.

    What is dated later than now belongs to the current partition, so that it is processed all the same.
    """

    objects: Objects

    def objects_of(self, dataset: Dataset, partitions: Sequence[str], *, now: datetime, earlier: bool = False) -> Page:
        """The landed objects of these partitions; lists only the folders where they can be.

        With `earlier` those of all partitions before the first of these too.
        """
        wanted = set(partitions)
        if not wanted:
            return Page([])
        first = min(wanted)
        since, until = parse_partition(first), partition_end(dataset, max(wanted))
        if earlier:
            since = FIRST
        if until > now:
            until = LAST
        found = _page(self._walk(dataset, since=since, until=until, now=now))
        chosen = (o for o in found.objects if o.partition in wanted or (earlier and o.partition < first))
        return replace(found, objects=sorted(chosen))

    def recent(self, dataset: Dataset, *, since: datetime, now: datetime) -> Page:
        """The objects in folders dated `since` or later; in those without a date, but what DMS named for earlier."""
        return _page(self._walk(dataset, since=since, until=LAST, now=now, older=False))

    def sweep(self, dataset: Dataset, *, after: str | None, limit: int, now: datetime) -> Page:
        """The next objects of a walk through all that a dataset ever landed, in the order of their keys.

        Goes on behind the key `after` (relative to the dataset's prefix) and ends when it has met `limit` objects, so
        that one piece costs the same however much has landed before.
        """
        walk = self._walk(dataset, since=FIRST, until=LAST, now=now, after=after or "", most=limit)
        return _page(walk, limit=limit, start=len(dataset.landing.prefix) + 1)

    def landed(self, dataset: Dataset, key: str, *, now: datetime) -> LandedObject | None:
        """The landed object under a key below a dataset's prefix; None where there is none, or no data."""
        listed = self.objects.look(key)
        folder = key[len(dataset.landing.prefix) + 1 :].rpartition("/")[0]
        found = self._landed(dataset, f"{folder}/" if folder else "", [listed] if listed else [], now)
        return next(found, None)

    def identified(self, landed: LandedObject) -> LandedObject | None:
        """A listed object with its etag, for which a local file is read; None when it is there no more.

        The etag of a file that can't be read is made of its stamp: so it is known, and fails by itself when it is read.
        """
        if landed.etag:
            return landed
        try:
            return replace(landed, etag=self.objects.etag(landed.key))
        except MissingObjectError:
            return None
        except OSError:
            return replace(landed, etag=stamped(landed.stamp))

    def _walk(
        self,
        dataset: Dataset,
        *,
        since: datetime,
        until: datetime,
        now: datetime,
        after: str = "",
        most: int | None = None,
        older: bool = True,
    ) -> Iterator["LandedObject | _Unlisted"]:
        """Objects in the order of their keys, from folders that are not dated outside the bounds.

        Only those behind the key `after`; without `older` none that DMS named for a time before the bounds, in folders
        without a date. A folder is asked for `most` objects at a time, where it is not told with all below it.
        """
        early = NOTHING if older else names_before(since)

        def visit(path: str, told: Callable[[str], Listing] | None = None) -> Iterator[LandedObject | _Unlisted]:
            prefix = f"{dataset.landing.prefix}/{path}".rstrip("/")
            seen = _beginning(after[len(path) :]) if after.startswith(path) else ""
            skip = [("", seen)] if seen else early if folder_dates(path.rstrip("/")) is None else NOTHING
            while True:
                try:
                    told = told or (self.objects.below(prefix) if seen or not skip else None)
                    listing = told(prefix) if told else self.objects.folder(prefix, skip=skip, most=most)
                except (OSError, PermissionDeniedError, InvalidPathError) as fault:  # others are not of this folder
                    yield _Unlisted(f"{prefix} can't be listed: {str(fault).partition(chr(10))[0]}")
                    return
                end = None if listing.more_after is None else f"{listing.more_after}\0"
                folders = sorted(f"{name}/" for name in listing.folders)
                within = [f for f in folders if seen <= f and (end is None or f < end)]
                landed_here = self._landed(dataset, path, listing.objects, now)
                named = ((o.key.removeprefix(f"{dataset.landing.prefix}/{path}"), o) for o in landed_here)
                named = ((name, o) for name, o in named if seen <= name)  # what is told with others is told in full
                for name, landed in merge(named, ((f, None) for f in within), key=itemgetter(0)):
                    if landed is not None:
                        yield landed
                    elif not _OTHER_FOLDER.search(path + name) and _may_hold(path + name, since, until):
                        yield from visit(path + name, told)
                if end is None:
                    return
                seen, skip = end, [("", end)]

        yield from visit("")

    def _landed(self, dataset: Dataset, folder: str, listed: Iterable[Listed], now: datetime) -> Iterator[LandedObject]:
        dates = folder_dates(folder.rstrip("/"))
        start = len(dataset.landing.prefix) + 1
        for o in listed:
            if is_data(o.key[start:], size=o.size) and not is_staged(o, now=now):
                moment = _landing_time(o.key[start + len(folder) :], o.last_modified, dates=dates)
                partition = partition_key(dataset, min(moment, now))
                yield LandedObject(o.key, o.etag or "", o.size, o.last_modified, partition, o.stamp)


@dataclass(frozen=True, slots=True)
class _Unlisted:
    reason: str


def _page(found: Iterable[LandedObject | _Unlisted], *, limit: int | None = None, start: int = 0) -> Page:
    """What was found, up to `limit` objects; the position is behind the last, from the character `start` of its key."""
    objects: list[LandedObject] = []
    unlisted: list[str] = []
    for one in found:
        if isinstance(one, _Unlisted):
            unlisted.append(one.reason)
        else:
            objects.append(one)
        if limit is not None and len(objects) >= limit:
            return Page(objects, objects[-1].key[start:], tuple(unlisted))
    return Page(objects, None, tuple(unlisted))


def is_data(path: str, *, size: int) -> bool:
    """Whether an object is a dataset's data; `path` is relative to the dataset's prefix, `size` in bytes.

    It is, whatever its name, unless it is known to be something else: DMS's own tables (`awsdms_…`, `attrep_…`), a
    folder's marker, or what Spark, Databricks, Hadoop and macOS leave behind. Hidden names (`.a`, `_a/b`) are data too:
    a parallel load's folders bear the names of segments, and what can't be read is quarantined rather than overlooked.
    """
    if _OTHER_FOLDER.search(path) or _DROPPING.fullmatch(path.rpartition("/")[2]):
        return False
    return size > 0 or not (path == "" or path.endswith("/"))


def is_staged(listed: Listed, *, now: datetime) -> bool:
    """Whether a local file may still be on its way: producers that use obstore write `a#1`, then name it `a`.

    After an hour it is data like any other, be it what a killed producer left or the file's real name. An object store
    shows an object only when it is whole, so the rule is for files alone.
    """
    return listed.etag is None and _STAGED.search(listed.key) is not None and listed.last_modified > now - _STAGED_FOR


def landing_time(path: str, last_modified: datetime) -> datetime:
    """When an object landed, to the hour or the day, in UTC; `path` is relative to the dataset's prefix.

    The date folders decide, made precise by the hour in the name where that lies within them; without such folders the
    hour in the name; without that, when it was last modified. `key_times.named_time` tells the name's time in full.
    """
    folder, _, name = path.rpartition("/")
    return _landing_time(name, last_modified, dates=folder_dates(folder))


def _landing_time(name: str, last_modified: datetime, *, dates: tuple[datetime, datetime] | None) -> datetime:
    named = named_time(name)
    hour = named and named.replace(minute=0, second=0, microsecond=0)
    if dates is None:
        return hour or last_modified.astimezone(UTC)
    return hour if hour and dates[0] <= hour < dates[1] else dates[0]


def is_full_load(path: str) -> bool:
    """Whether a DMS object is part of a full load: `LOAD0000000A.parquet`, or `SEGMENT1_LOAD…` of a parallel one."""
    return _LOAD_NAME.search(path.rpartition("/")[2]) is not None


def partition_key(dataset: Dataset, moment: datetime) -> str:
    """The landing partition that holds a moment (UTC), as Dagster writes it: `2026-01-31-05:00` or `2026-01-31`."""
    return moment.strftime("%Y-%m-%d" if dataset.landing.cadence == "daily" else "%Y-%m-%d-%H:00")


def parse_partition(key: str) -> datetime:
    """The moment (UTC) at which a partition begins. Raises `ValueError` for what is no partition key."""
    return datetime.strptime(key, "%Y-%m-%d" if len(key) == _DAY_LENGTH else "%Y-%m-%d-%H:%M").replace(tzinfo=UTC)


def partition_end(dataset: Dataset, key: str) -> datetime:
    """The moment (UTC) at which a partition of a dataset ends."""
    return parse_partition(key) + _step(dataset)


def _step(dataset: Dataset) -> timedelta:
    return timedelta(days=1) if dataset.landing.cadence == "daily" else timedelta(hours=1)


def _beginning(rest: str) -> str:
    """What a folder has to tell when the key `rest` below it was seen: all entries from here on; "": all.

    The folder that holds the key is looked into again, its other entries up to there are not.
    """
    first, slash, _ = rest.partition("/")
    return first + (slash or "\0") if rest else ""


def _may_hold(folder: str, since: datetime, until: datetime) -> bool:
    dates = folder_dates(folder.rstrip("/"))
    return dates is None or (dates[0] < until and dates[1] > since)
