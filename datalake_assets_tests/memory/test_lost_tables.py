"""Tables and objects that somebody took away: what is lost is told, and nothing is counted twice or for good."""

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

from datalake_assets.lake.readers.batch import Limits
from datalake_assets_tests.memory.lakes import AT, MemoryLake, stream

GOOD = [{"id": str(n), "at": AT} for n in range(10)]


def test_silver_that_is_gone_is_told_until_it_is_rebuilt(tmp_path: Path) -> None:
    """A silver table deleted by hand emptied the figures, and the run called itself complete."""
    lake = MemoryLake(tmp_path / "lake", stream())
    lake.land("o", GOOD)
    lake.run()
    shutil.rmtree(lake.lake.silver(lake.dataset).uri)
    lake.run()
    assert any("silver/clicks is gone" in line and "datalake rebuild clicks" in line for line in lake.undone())
    lake.rebuild()
    lake.run()
    assert lake.undone() == []
    lake.assert_as_fresh()


def test_rejects_stand_once_when_the_ledger_was_lost(tmp_path: Path) -> None:
    """With the ledger deleted by hand every object was new again, and its rejects stood twice in quarantine."""
    lake = MemoryLake(tmp_path / "lake", stream())
    lake.land("o", [*GOOD, "torn {"])
    lake.run()
    shutil.rmtree(lake.lake.ledger.table.uri)
    lake = lake.under(stream())
    lake.run()
    assert len(lake.rejected()) == 1
    lake.assert_as_fresh()


def test_an_unreadable_object_that_is_gone_is_missing_and_read_when_it_is_back(tmp_path: Path) -> None:
    """A rebuild took an object that had never been read for one whose rows it kept: it was never read again."""
    lake = MemoryLake(tmp_path / "lake", stream())
    lake.lake = replace(lake.lake, limits=Limits(object_bytes=100, record_bytes=1_000))
    key = lake.land("large", gzip.compress(b"\n".join(b'{"id": "%d", "at": %d}' % (n, AT) for n in range(50))))
    lake.run()
    assert lake.statuses() == [("large", "failed")]
    data = lake.path(key).read_bytes()
    lake.path(key).unlink()
    lake.rebuild()
    assert lake.statuses() == [("large", "missing")]
    lake.lake = replace(lake.lake, limits=Limits())
    lake.path(key).write_bytes(data)
    lake.run()
    assert lake.statuses() == [("large", "processed")]
    assert (len(lake.ids()), lake.rejected()) == (50, [])
