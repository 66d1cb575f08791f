"""The spool: what it has acknowledged lands, once, whatever happens to the disk, to bronze or to the process."""

import asyncio
import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from datalake_assets.gateway import spool as module
from datalake_assets.gateway.spool import Limits, Spool
from datalake_assets.ingest.sink import Failure
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.gateway.landed import landed_lines
from datalake_assets_tests.ingest.requests import sources

_NEVER = Limits(seconds=3_600)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)


class Kept:
    """A spool in a folder, what it told, and puts that wait for it."""

    def __init__(self, folder: Path, limits: Limits = _NEVER) -> None:
        self.told: list[str] = []
        self.bronze = folder / "bronze"
        self.folder = folder / "spool"
        self.spool = Spool(self.folder, str(self.bronze), limits, self.told.append)

    def put(self, *requests: Sequence[bytes], source: str = "clicks") -> list[Failure | None]:
        """What became of requests that came at one time."""

        async def all_of_them() -> list[Failure | None]:
            return list(await asyncio.gather(*(self.spool.put(sources()[source], r) for r in requests)))

        return asyncio.run(all_of_them())

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.spool"))


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


def test_what_is_acknowledged_is_on_the_disk_and_lands_when_it_closes(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.spool.open() == 0
    assert kept.put([b"1", b"2"], [b"3"]) == [None, None]
    assert kept.put([b"4"], source="readings") == [None]
    assert [sorted(file.read_bytes().splitlines()[1:]) for file in kept.files()] in (
        [[b"1", b"2", b"3"], [b"4"]],
        [[b"4"], [b"1", b"2", b"3"]],
    )
    assert landed_lines(kept.bronze) == []
    assert kept.spool.close()
    assert sorted(landed_lines(kept.bronze)) == [b"1", b"2", b"3", b"4"]
    assert kept.files() == []
    assert (kept.spool.tally.records, kept.spool.tally.objects) == (4, 2)
    (stream,) = kept.bronze.rglob("*.gz")
    (plain,) = kept.bronze.rglob("*.json")
    assert stream.relative_to(kept.bronze).match("firehose/clicks/*/*/*/*/clicks-1-*.gz")
    assert plain.relative_to(kept.bronze).match("api/readings/year=*/month=*/day=*/*.json")


def test_an_object_is_landed_when_it_is_large_or_old(tmp_path: Path) -> None:
    for n, limits in enumerate([Limits(seconds=3_600, bytes=10), Limits(seconds=0.01)]):
        kept = Kept(tmp_path / str(n), limits)
        kept.spool.open()
        assert kept.put([b"0123456789"]) == [None]
        _until(lambda kept=kept: landed_lines(kept.bronze) == [b"0123456789"])  # type: ignore[misc]
        assert kept.spool.close()


def test_what_a_killed_server_left_lands_at_the_next_start_but_for_a_torn_line(tmp_path: Path) -> None:
    dead = Kept(tmp_path)
    dead.folder.mkdir()
    (dead.folder / "a.spool").write_bytes(b"api/readings/year=2026/a.json\n1\n2\n3")
    (dead.folder / "b.spool").write_bytes(b"api/readings/ye")
    (dead.folder / "c.spool").write_bytes(b"api/readings/year=2026/c.json\n3")
    assert dead.spool.open() == 1
    assert dead.spool.close()
    assert (dead.bronze / "api/readings/year=2026/a.json").read_bytes() == b"1\n2\n"
    assert landed_lines(dead.bronze) == [b"1", b"2"]
    assert dead.files() == []


def test_landing_again_after_a_kill_writes_the_same_bytes_to_the_same_place(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.spool.open()
    kept.put([b"1"])
    (file,) = kept.files()
    copy = file.read_bytes()
    kept.spool.close()
    (landed,) = [f for f in kept.bronze.rglob("*") if f.is_file()]
    before = landed.read_bytes()
    file.write_bytes(copy)
    again = Kept(tmp_path)
    assert again.spool.open() == 1
    assert again.spool.close()
    assert [f.read_bytes() for f in kept.bronze.rglob("*") if f.is_file()] == [before]


def test_servers_that_share_a_spool_leave_each_others_files_alone(tmp_path: Path) -> None:
    one, other = Kept(tmp_path), Kept(tmp_path)
    one.spool.open()
    one.put([b"1"])
    assert other.spool.open() == 0
    other.put([b"2"])
    assert other.spool.close()
    assert landed_lines(one.bronze) == [b"2"]
    assert one.spool.close()
    assert sorted(landed_lines(one.bronze)) == [b"1", b"2"]


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path)
    kept.spool.open()
    assert kept.put([b"1"]) == [None]
    write = os.pwrite

    def full(descriptor: int, data: bytes, at: int) -> int:
        write(descriptor, bytes(data)[:2], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        failures = kept.put([b"22", b"33"], [b"44"])
        assert all(failure is not None and not failure.is_final for failure in failures)
    assert kept.put([b"5"]) == [None]
    assert kept.spool.close()
    assert sorted(landed_lines(kept.bronze)) == [b"1", b"5"]
    assert "No space left" in kept.told[0]


def test_a_bronze_that_is_away_is_waited_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Limits(seconds=0.01))
    kept.bronze.write_text("a file where a folder belongs")
    kept.spool.open()
    assert kept.put([b"1"]) == [None]
    _until(lambda: len(kept.told) > 1)
    kept.bronze.unlink()
    _until(lambda: landed_lines(kept.bronze) == [b"1"] if kept.bronze.exists() else False)
    assert kept.spool.close()


def test_what_can_not_be_landed_stays_for_the_next_start(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.bronze.write_text("a file where a folder belongs")
    kept.spool.open()
    kept.put([b"1"])
    assert not kept.spool.close()
    kept.bronze.unlink()
    again = Kept(tmp_path)
    assert again.spool.open() == 1
    assert again.spool.close()
    assert landed_lines(again.bronze) == [b"1"]


def test_a_spool_that_is_full_says_so(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Limits(seconds=3_600, most_bytes=100))
    kept.spool.open()
    assert kept.put([b"a" * 100]) == [None]
    (failure,) = kept.put([b"b"])
    assert failure is not None
    assert failure.is_throttled
    assert kept.spool.close()
    assert landed_lines(kept.bronze) == [b"a" * 100]


def test_bronze_may_be_in_s3(tmp_path: Path, aws: Aws) -> None:
    bucket = aws.bucket()
    kept = Kept(tmp_path)
    kept.spool.bronze = f"s3://{bucket}/lake/bronze"
    kept.spool.open()
    assert kept.put([b"1"], [b"2"], source="readings") == [None, None]
    assert kept.spool.close()
    (key,) = aws.keys(bucket, "lake/bronze/api/readings/")
    assert aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() in {b"1\n2\n", b"2\n1\n"}
    assert kept.files() == []
