"""Landed objects: what lies in bronze, found at a cost that follows what is new.

Belongs here: listing objects and telling the partition of each. What the lake already knows of them is the
ledger's affair.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obstore import list_with_delimiter
from obstore.store import LocalStore, ObjectStore, from_url

from datalake_assets.lake.spec.dataset import Dataset

if TYPE_CHECKING:
    from obstore import ObjectMeta  # exists for type checkers alone

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)  # a folder named for a year outside these bounds is no date
_LAST = datetime(2200, 1, 1, tzinfo=UTC)
_DAY_LENGTH = len("2026-01-31")
# The year comes first: DMS's DDMMYYYY and MMYYYYDD folders tell no date, as half of one would be taken for a year.
_DATE_FOLDER = re.compile(
    r"(?:year=)?(\d{4})(?:[/_-]?(?:month=)?(\d{2})(?:[/_-]?(?:day=)?(\d{2})(?:[/_-]?(?:hour=)?(\d{2}))?)?)?", re.ASCII
)
_DATE_FORMATS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H"}
_NAME_TIMES = (
    re.compile(r"^(?:.*[-_])?(?P<day>\d{8})-(?P<hour>\d{2})\d{7,8}\b"),  # DMS: yyyymmdd-hhmmssfff
    re.compile(r"-(?P<day>\d{4}-\d{2}-\d{2})-(?P<hour>\d{2})-\d{2}-\d{2}-"),  # Firehose: YYYY-MM-DD-HH-MM-SS
)
_LOAD_NAME = re.compile(r"(?:^|_)LOAD[0-9A-F]{8}\b")
_NOT_DATA = re.compile(r"(?:^|/)(?:[._]|awsdms_|attrep_)")


@dataclass(frozen=True, slots=True, order=True)
class LandedObject:
    """One immutable object in bronze.

    `key` is its path relative to bronze; `etag` (or version) and `size` in bytes make it this object and no later
    one of the same key: a reload of a DMS table writes the same names again. `partition` is the landing hour or day.
    """

    key: str
    etag: str
    size: int
    last_modified: datetime
    partition: str

    @property
    def identity(self) -> tuple[str, str, int]:
        """What tells one landed object from another."""
        return self.key, self.etag, self.size


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a sweep: its objects, and the folder to go on after (None: the sweep has come round)."""

    objects: list[LandedObject]
    position: str | None


def open_store(place: str) -> ObjectStore:
    """The object store rooted at a zone: a local folder (made when missing) or `s3://bucket/prefix`."""
    return from_url(place) if "://" in place else LocalStore(prefix=place, mkdir=True)


@dataclass(frozen=True, slots=True)
class LandingZone:
    """Bronze as the lake sees it: landed objects by dataset and partition.

    Partitions run from `start` (UTC): what is dated earlier belongs to the first partition, what is dated later than
    now to the current one, so that an object with an odd date is processed all the same.
    """

    store: ObjectStore
    start: datetime

    def objects_of(self, dataset: Dataset, partitions: Sequence[str], *, now: datetime) -> list[LandedObject]:
        """The landed objects of these partitions; lists only the folders where they can be."""
        wanted = set(partitions)
        since, until = parse_partition(min(wanted)), parse_partition(max(wanted)) + _step(dataset)
        if since <= self.start:
            since = _FIRST
        if until > now:
            until = _LAST
        found = (o for _, objects in self._walk(dataset, since=since, until=until, now=now) for o in objects)
        return sorted(o for o in found if o.partition in wanted)

    def recent(self, dataset: Dataset, *, since: datetime, now: datetime) -> list[LandedObject]:
        """The objects in folders dated `since` or later, and those in folders without a date."""
        return [o for _, objects in self._walk(dataset, since=since, until=_LAST, now=now) for o in objects]

    def sweep(self, dataset: Dataset, *, after: str | None, limit: int, now: datetime) -> Page:
        """The next objects of a walk through all that a dataset ever landed.

        Goes on behind the folder `after` and ends with the folder that makes it `limit` objects or more, so that one
        piece costs the same however much has landed before.
        """
        found: list[LandedObject] = []
        for folder, objects in self._walk(dataset, since=_FIRST, until=_LAST, now=now, after=after):
            found.extend(objects)
            if len(found) >= limit:
                return Page(found, folder)
        return Page(found, None)

    def _walk(
        self, dataset: Dataset, *, since: datetime, until: datetime, now: datetime, after: str | None = None
    ) -> Iterator[tuple[str, list[LandedObject]]]:
        """Folders in the order of their paths, each with its own objects, without those dated outside the bounds."""
        root = dataset.landing.prefix
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            listing = list_with_delimiter(self.store, f"{root}/{folder}")
            inner = sorted(f"{prefix.rstrip('/')}/".removeprefix(f"{root}/") for prefix in listing["common_prefixes"])
            waiting.extend(
                f for f in reversed(inner) if _may_hold(f, since, until) and (after is None or _comes_after(f, after))
            )
            if after is None or folder > after:
                landed = [self._landed(dataset, meta, now) for meta in listing["objects"] if _is_data(meta, root)]
                yield folder, sorted(landed)

    def _landed(self, dataset: Dataset, meta: "ObjectMeta", now: datetime) -> LandedObject:
        moment = landing_time(meta["path"].removeprefix(f"{dataset.landing.prefix}/"), meta["last_modified"])
        return LandedObject(
            key=meta["path"],
            etag=meta.get("version") or meta["e_tag"] or "",
            size=meta["size"],
            last_modified=meta["last_modified"],
            partition=partition_key(dataset, min(max(moment, self.start), now)),
        )


def landing_time(path: str, last_modified: datetime) -> datetime:
    """When an object landed, to the hour or the day, in UTC.

    `path` is relative to the dataset's prefix. The date folders decide, made precise by the hour in the name where
    they tell the day alone; without such folders the time in the name; without that, when it was last modified.
    """
    folder, _, name = path.rpartition("/")
    match = next((m for m in (pattern.search(name) for pattern in _NAME_TIMES) if m), None)
    named = _moment(match["day"].replace("-", "") + match["hour"]) if match else None
    begin, end = _folder_dates(folder) or (None, None)
    if begin is None or end is None:
        return named or last_modified.astimezone(UTC)
    return named if named and begin <= named < end else begin


def is_full_load(path: str) -> bool:
    """Whether a DMS object is part of a full load: `LOAD0000000A.parquet`, or `SEGMENT1_LOAD…` of a parallel one."""
    return _LOAD_NAME.search(path.rpartition("/")[2]) is not None


def partition_key(dataset: Dataset, moment: datetime) -> str:
    """The landing partition that holds a moment (UTC), as Dagster writes it: `2026-01-31-05:00` or `2026-01-31`."""
    return moment.strftime("%Y-%m-%d" if dataset.landing.cadence == "daily" else "%Y-%m-%d-%H:00")


def parse_partition(key: str) -> datetime:
    """The moment (UTC) at which a partition begins. Raises `ValueError` for what is no partition key."""
    return datetime.strptime(key, "%Y-%m-%d" if len(key) == _DAY_LENGTH else "%Y-%m-%d-%H:%M").replace(tzinfo=UTC)


def _step(dataset: Dataset) -> timedelta:
    return timedelta(days=1) if dataset.landing.cadence == "daily" else timedelta(hours=1)


def _is_data(meta: "ObjectMeta", root: str) -> bool:
    return not _NOT_DATA.search(meta["path"].removeprefix(f"{root}/"))


def _comes_after(folder: str, after: str) -> bool:
    return folder > after or after.startswith(folder)


def _may_hold(folder: str, since: datetime, until: datetime) -> bool:
    dates = _folder_dates(folder.rstrip("/"))
    return dates is None or (dates[0] < until and dates[1] > since)


def _folder_dates(folder: str) -> tuple[datetime, datetime] | None:
    """The time that a folder stands for, as [begin, end); None when its path is not a date from end to end."""
    match = _DATE_FOLDER.fullmatch(folder)
    digits = "".join(part for part in match.groups() if part) if match else ""
    begin = _moment(digits)
    if begin is None:
        return None
    match len(digits):
        case 4:
            return begin, begin.replace(year=begin.year + 1)
        case 6:
            return begin, (begin + timedelta(days=31)).replace(day=1)
        case 8:
            return begin, begin + timedelta(days=1)
        case _:
            return begin, begin + timedelta(hours=1)


def _moment(digits: str) -> datetime | None:
    if len(digits) not in _DATE_FORMATS:
        return None
    try:
        moment = datetime.strptime(digits, _DATE_FORMATS[len(digits)]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment if _FIRST <= moment < _LAST else None
