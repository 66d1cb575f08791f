"""A large folder is read once while nothing changes in it, and whatever changes in it is seen by the next look."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from datalake_assets.lake.store import folder_names
from datalake_assets.lake.store.folder_names import FolderNames
from datalake_assets.lake.store.landing import LandingZone
from datalake_assets.lake.store.objects import Listed, LocalObjects
from datalake_assets_tests.streams import table

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
MANY = 1_200


@dataclass
class Flat:
    """A folder into which DMS put an object every ten minutes until now."""

    root: Path
    zone: LandingZone = field(init=False)
    folder: Path = field(init=False)
    place: LocalObjects = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.root / "dms/public/orders"
        self.folder.mkdir(parents=True)
        self.place = LocalObjects(str(self.root))
        self.zone = LandingZone(self.place)
        for n in range(MANY):
            self.land(self.name(n))

    def name(self, number: int) -> str:
        return f"{NOW - number * timedelta(minutes=10):%Y%m%d-%H%M%S}000.parquet"

    def land(self, name: str, body: str = "1") -> None:
        (self.folder / name).write_text(body)

    def tick(self, *, after: str | None = "20260527-") -> dict[str, Listed]:
        """What a look from 11:00 on and a piece of the sweep find, by name."""
        zone, orders = self.zone, table()
        found = zone.recent(orders, since=NOW - timedelta(hours=1), now=NOW).objects
        found += zone.sweep(orders, after=after, limit=50, now=NOW).objects
        listed = self.place.folder("dms/public/orders").objects
        assert {o.key for o in found} <= {o.key for o in listed}
        return {o.key.rpartition("/")[2]: o for o in listed if o.key in {f.key for f in found}}


@pytest.fixture
def flat(tmp_path: Path) -> Flat:
    return Flat(tmp_path / "bronze")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that shows a minute more, so that all folders were changed a while ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The folders that were read, name by name."""
    scan, read = os.scandir, list[bytes]()

    def scanned(folder: bytes) -> object:
        read.append(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scanned)
    return read


def test_a_folder_in_which_nothing_changes_is_read_once_for_all_looks(
    flat: Flat, later: None, reads: list[bytes]
) -> None:
    first = flat.tick()
    assert (len(first), len([read for read in reads if read.endswith(b"orders")])) == (10 + 50, 1)
    assert flat.tick() == first
    assert len([read for read in reads if read.endswith(b"orders")]) == 1


def test_a_small_folder_and_one_that_was_changed_a_moment_ago_are_read_each_time(
    flat: Flat, reads: list[bytes]
) -> None:
    flat.tick()
    assert len(reads) == 3
    for n in range(MANY - 10):
        (flat.folder / flat.name(n)).unlink()
    flat.place.folder("dms/public/orders")
    flat.place.folder("dms/public/orders")
    assert len(reads) == 5


@pytest.mark.parametrize("kept", [True, False], ids=["of a kept folder", "of a fresh folder"])
def test_a_file_that_lands_right_after_a_tick_is_seen_by_the_next(
    flat: Flat, request: pytest.FixtureRequest, kept: bool
) -> None:
    if kept:
        request.getfixturevalue("later")
        time.sleep(0.02)  # the clock would show two seconds more, were it not for the fixture
    for second in range(5):
        flat.tick()
        name = f"20260601-1159{second:02}000.parquet"
        flat.land(name)
        assert name in flat.tick()
        if kept:
            time.sleep(0.02)


def rewrite(file: Path) -> None:
    file.write_text("2")


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("2")
    other.rename(file)


@pytest.mark.parametrize("write", [rewrite, replace])
def test_a_file_that_is_written_again_in_a_kept_folder_is_another_object(
    flat: Flat, later: None, write: Callable[[Path], None]
) -> None:
    name = flat.name(3)
    before = flat.tick()[name]
    time.sleep(0.02)  # longer than a tick of the file system's clock
    write(flat.folder / name)
    assert flat.tick()[name].stamp != before.stamp


def test_a_file_that_is_deleted_from_a_kept_folder_and_a_new_folder_are_seen(flat: Flat, later: None) -> None:
    name = flat.name(3)
    assert name in flat.tick()
    time.sleep(0.02)
    (flat.folder / name).unlink()
    assert name not in flat.tick()
    (flat.folder / name).mkdir()
    assert flat.place.folder("dms/public/orders").folders == [name]


@dataclass
class Clock:
    """A clock that a test turns on by hand."""

    seconds: float = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def time_ns(self) -> int:
        return time.time_ns()


def constant(place: bytes) -> object:
    """What a mounted bucket tells of any folder."""
    facts = os.stat(place)  # noqa: PTH116
    return SimpleNamespace(st_dev=facts.st_dev, st_ino=facts.st_ino, st_mtime_ns=1, st_ctime_ns=1)


def test_a_mounted_bucket_whose_folders_bear_one_time_for_ever_is_read_once_a_minute(
    flat: Flat, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(folder_names, "time", clock)
    monkeypatch.setattr(folder_names, "os", SimpleNamespace(stat=constant, scandir=os.scandir))
    before = flat.tick()
    flat.land("20260601-115900000.parquet")
    (flat.folder / flat.name(3)).unlink()
    clock.seconds += 59
    assert before.keys() - flat.tick().keys() == {flat.name(3)}
    clock.seconds += 1
    assert "20260601-115900000.parquet" in flat.tick()


def test_names_are_remembered_while_there_is_room_for_them(
    tmp_path: Path, later: None, reads: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty folders of 20,000 names would take 50 MB as text."""
    folders = [os.fsencode(tmp_path / name) for name in ("a", "b")]
    for folder in folders:
        Path(os.fsdecode(folder)).mkdir()
        for n in range(1_000):
            Path(os.fsdecode(folder), f"{n:09}").touch()
    names = FolderNames(room=15_000)
    for _ in range(3):
        assert [len(names.within(folder).others) for folder in folders] == [1_000, 1_000]
    assert reads == [folders[0], folders[1], folders[1], folders[1]]
    monkeypatch.setattr(folder_names, "time", Clock(time.monotonic() + 61))
    names.within(folders[1])
    names.within(folders[1])
    assert len(reads) == 5
