"""Every file is listed and read whatever its name, and read only while it is the one that was listed."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import InvalidPathError
from obstore.store import MemoryStore

from datalake_assets.lake.store.folder_names import key_of, name_of
from datalake_assets.lake.store.objects import (
    Listed,
    Listing,
    LocalObjects,
    MissingObjectError,
    Objects,
    RemoteObjects,
    SupersededObjectError,
    TooLargeObjectError,
    open_objects,
    stamped,
)
from datalake_assets_tests.buckets import bucket

LIMIT = 1_000_000
NAMES = st.binary(min_size=1, max_size=60).filter(lambda b: not {0, ord("/")} & set(b) and b not in {b".", b".."})


@dataclass
class Place:
    """A local folder whose files have any names."""

    root: Path
    objects: LocalObjects = field(init=False)

    def __post_init__(self) -> None:
        self.objects = LocalObjects(str(self.root))

    def write(self, path: bytes, body: bytes) -> bytes:
        place = os.path.join(os.fsencode(self.root), path)  # noqa: PTH118 - pathlib knows no names made of bytes
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120 - as above
        with open(place, "wb") as file:  # noqa: PTH123 - as above
            file.write(body)
        return place

    def everything(self) -> list[Listed]:
        return list(all_below(self.objects, ""))

    def only(self) -> Listed:
        (found,) = self.everything()
        return found

    def read(self, key: str, etag: str, size: int) -> bytes:
        return self.objects.read(key, etag=etag, size=size, limit=LIMIT)


def all_below(place: Objects, path: str) -> Iterator[Listed]:
    names, found, _ = place.folder(path)
    yield from found
    for name in names:
        yield from all_below(place, f"{path}/{name}" if path else name)


def bodies(place: Place) -> dict[str, bytes]:
    """Every object that a listing shows, as it is read by the identity that the listing and the etag tell."""
    found = place.everything()
    read = {o.key: place.read(o.key, place.objects.etag(o.key), o.size) for o in found}
    assert len(read) == len(found)
    return read


def etags(place: Place) -> dict[str, str]:
    return {o.key: place.objects.etag(o.key) for o in place.everything()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "bronze")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that shows a minute more, so that all files were written a while ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)


@given(name=st.binary(max_size=60))
def test_a_name_of_any_bytes_becomes_a_key_and_the_name_again(name: bytes) -> None:
    assert name_of(key_of(name)) == name
    key_of(name).encode()  # no lone surrogates: Parquet, JSON and a log can hold it


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"a.gz", "a.gz"),
        ("zürich.gz".encode(), "zürich.gz"),
        (b"caf\xe9.gz", r"caf\xe9.gz"),
        (rb"a\b", r"a\\b"),
        (rb"a\xe9", r"a\\xe9"),
        (b"a\tb\n", "a\tb\n"),
    ],
)
def test_a_key_reads_like_the_name(name: bytes, key: str) -> None:
    assert (key_of(name), name_of(key)) == (key, name)


def test_two_thousand_random_names_are_listed_once_and_read_and_copied_with_the_same_etags(tmp_path: Path) -> None:
    """One name with a tab, a newline or a byte that is not UTF-8 failed the listing of the whole dataset."""
    place, random = Place(tmp_path / "bronze"), Random(6)
    alphabet = bytes(set(range(1, 256)) - {ord("/")})
    landed: dict[bytes, bytes] = {}
    folders = [b"", b"2026/01/05/", b"_a\n/\xff\xfe/", b".../#1/", b" /\\/"]
    while len(landed) < 2000:
        name = random.choice(folders) + bytes(random.choices(alphabet, k=random.randint(1, 40)))
        if name.rpartition(b"/")[2] not in {b".", b".."}:
            landed[name] = random.randbytes(random.randint(0, 50))
    for name, body in landed.items():
        place.write(name, body)
    assert {name_of(key): body for key, body in bodies(place).items()} == landed
    copies = [Place(tmp_path / "copytree"), Place(tmp_path / "cp")]
    shutil.copytree(place.root, copies[0].root)
    subprocess.run(["cp", "-r", place.root, copies[1].root], check=True)
    assert [etags(copy) for copy in copies] == [etags(place)] * 2


@given(landed=st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=9), max_size=12))
def test_files_in_folders_of_any_names_are_listed_once_and_read(landed: dict[tuple[bytes, ...], bytes]) -> None:
    files = {
        b"/".join(path): body
        for path, body in landed.items()
        if not any(path == other[: len(path)] for other in landed if other != path)  # a file is no folder as well
    }
    with TemporaryDirectory() as root:
        place = Place(Path(root))
        for path, body in files.items():
            place.write(path, body)
        assert {name_of(key): body for key, body in bodies(place).items()} == files


def test_a_folder_that_does_not_exist_is_empty_and_is_not_made(place: Place) -> None:
    assert place.objects.folder("") == Listing([], [])
    assert place.objects.folder("firehose/clicks") == Listing([], [])
    place.write(b"a", b"1")
    assert place.objects.folder("a/b") == Listing([], [])
    assert not (place.root / "firehose").exists()


def test_links_to_files_are_objects_and_pipes_and_links_to_folders_are_not(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"there")
    place.write(b"a", b"1")
    (place.root / "link").symlink_to(tmp_path / "elsewhere")
    (place.root / "dangling").symlink_to(tmp_path / "nothing")
    (place.root / "circle").symlink_to(place.root)
    os.mkfifo(place.root / "pipe")
    assert bodies(place) == {"a": b"1", "link": b"there"}


def test_a_link_round_in_a_circle_fails_by_itself(place: Place) -> None:
    place.write(b"a", b"1")
    (place.root / "b").symlink_to("b")
    assert [o.key for o in place.everything()] == ["a", "b"]
    with pytest.raises(OSError, match="levels of symbolic links"):
        place.objects.etag("b")


def test_a_file_that_vanishes_while_its_folder_is_listed_is_left_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(b"a", b"1")
    place.write(b"b", b"2")
    scan = os.scandir

    @contextmanager
    def scanned(path: bytes) -> Iterator[list[os.DirEntry[bytes]]]:
        with scan(path) as entries:
            found = list(entries)
        (place.root / "a").unlink()
        yield found

    monkeypatch.setattr(os, "scandir", scanned)
    assert [o.key for o in place.everything()] == ["b"]


def test_a_time_of_modification_that_no_calendar_holds_is_the_nearest_that_one_does(place: Place) -> None:
    os.utime(place.write(b"old", b""), (-(10**10), -(10**10)))
    os.utime(place.write(b"new", b""), ns=(0, 10**10 * 10**9))
    assert {o.key: o.last_modified.year for o in place.everything()}["old"] == 1970


def test_an_object_keeps_its_stamp_while_it_is_not_written(place: Place, later: None) -> None:
    place.write(b"a", b"1")
    assert place.only() == place.only()


def test_what_was_written_a_moment_ago_is_recognised_by_no_later_listing(place: Place) -> None:
    """Two writes within one tick of the file system's clock leave inode, times and size alike."""
    place.write(b"a", b"1")
    assert place.only().stamp != place.only().stamp


@pytest.mark.parametrize("age", [0, 3600], ids=["equal", "older"])
def test_new_content_of_the_same_size_and_time_under_an_old_name_is_another_object(place: Place, age: int) -> None:
    """A restore, or `cp -p` over a file, was never noticed: the newest time decided which content counts."""
    moment = 1_767_225_600
    os.utime(place.write(b"a", b"first"), (moment, moment))
    before, etag = place.only(), place.objects.etag("a")
    os.utime(place.write(b"a", b"other"), (moment - age, moment - age))
    after = place.only()
    assert (after.size, after.last_modified.timestamp()) == (before.size, moment - age)
    assert after.stamp != before.stamp
    assert place.objects.etag("a") != etag
    with pytest.raises(SupersededObjectError) as caught:
        place.read("a", etag, before.size)
    assert (caught.value.etag, caught.value.size) == (place.objects.etag("a"), after.size)
    assert place.read("a", caught.value.etag, caught.value.size) == b"other"


def test_an_object_that_grew_is_another_one(place: Place) -> None:
    place.write(b"a", b"first")
    etag = place.objects.etag("a")
    place.write(b"a", b"first and more")
    with pytest.raises(SupersededObjectError) as caught:
        place.read("a", etag, 5)
    assert (caught.value.etag, caught.value.size) == (place.objects.etag("a"), 14)


def test_an_object_that_could_not_be_read_is_read_by_its_stamp_while_it_is_the_same(place: Place) -> None:
    place.write(b"a", b"first")
    etag = stamped(place.only().stamp)
    assert place.read("a", etag, 5) == b"first"
    os.utime(place.root / "a", (1, 1))
    with pytest.raises(SupersededObjectError):
        place.read("a", etag, 5)


@pytest.mark.parametrize("key", ["gone", "a/below a file", "folder"])
def test_what_is_not_there_is_missing(place: Place, key: str) -> None:
    place.write(b"a", b"1")
    place.write(b"folder/a", b"1")
    with pytest.raises(MissingObjectError, match=key):
        place.objects.etag(key)
    with pytest.raises(MissingObjectError, match=key):
        place.read(key, "etag", 1)


def test_an_object_above_the_limit_is_not_read(place: Place) -> None:
    place.write(b"a", b"12345")
    with pytest.raises(TooLargeObjectError, match="a: 5 bytes are more than the limit of 4 bytes"):
        place.objects.read("a", etag=place.objects.etag("a"), size=5, limit=4)


def test_a_zone_is_opened_by_its_place(tmp_path: Path) -> None:
    assert open_objects(str(tmp_path)) == LocalObjects(str(tmp_path))
    assert isinstance(open_objects("memory:///"), RemoteObjects)


def remote(contents: Mapping[str, bytes]) -> RemoteObjects:
    store = MemoryStore()
    for key, body in contents.items():
        obstore.put(store, key, body)
    return RemoteObjects(store)


def test_an_object_store_lists_and_reads_what_it_holds() -> None:
    place = remote({"d/b": b"2", "d/a#1": b"1", "d/_x/.y": b"3", "e": b"4"})
    names, found, _ = place.folder("d")
    assert (names, [o.key for o in found]) == (["_x"], ["d/a#1", "d/b"])
    assert [o.key for o in all_below(place, "")] == ["e", "d/a#1", "d/b", "d/_x/.y"]
    for o in found:
        assert o.etag == o.stamp == place.etag(o.key)
        assert place.read(o.key, etag=o.etag, size=o.size, limit=1) == {"d/b": b"2", "d/a#1": b"1"}[o.key]


def test_an_object_store_reads_only_what_is_asked_for() -> None:
    place = remote({"a": b"12345"})
    etag = place.etag("a")
    with pytest.raises(TooLargeObjectError):
        place.read("a", etag=etag, size=5, limit=4)
    obstore.put(place.store, "a", b"54321")
    with pytest.raises(SupersededObjectError) as caught:
        place.read("a", etag=etag, size=5, limit=LIMIT)
    assert (caught.value.etag, caught.value.size) == (place.etag("a"), 5)
    obstore.delete(place.store, "a")
    with pytest.raises(MissingObjectError):
        place.read("a", etag=etag, size=5, limit=LIMIT)
    with pytest.raises(MissingObjectError):
        place.etag("a")


def test_a_folders_marker_in_a_bucket_keeps_its_slash() -> None:
    with bucket("d/", "d/a", "d/x/") as held:
        names, found, _ = held.objects().folder("d")
        assert (names, [o.key for o in found]) == (["x"], ["d/", "d/a"])


@pytest.mark.parametrize("odd", ["d/odd//a", "d/odd/./a", "d/odd/..", "d/odd/a\tb"])
def test_an_odd_key_in_a_bucket_fails_the_listing_of_its_own_folder_alone(odd: str) -> None:
    with bucket(odd, "d/a", "d/fine/a") as held:
        place = held.objects()
        assert place.folder("d")[0] == ["fine", "odd"]
        assert [o.key for o in place.folder("d/fine")[1]] == ["d/fine/a"]
        with pytest.raises(InvalidPathError, match="odd"):
            place.folder("d/odd")
