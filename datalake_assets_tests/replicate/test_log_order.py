"""What can't be had of a server at will: commit times that step back, and messages that tell nothing of rows."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore

from datalake_assets.replicate.changes import _Look
from datalake_assets.replicate.files import Bronze
from datalake_assets.replicate.form import Form
from datalake_assets.replicate.pgoutput import decode
from datalake_assets.replicate.source import Column, SourceTable
from datalake_assets.replicate.state import TaskState
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica

pytestmark = pytest.mark.xdist_group("postgres")
_OID, _INT4 = 4711, 23
_TABLE = SourceTable(_OID, "public", "t", (Column("id", _INT4, -1),), ("id",), is_partitioned=False)
_RELATION = (
    b"R" + struct.pack("!I", _OID) + b"public\0t\0d" + struct.pack("!hB", 1, 1) + b"id\0" + struct.pack("!Ii", 23, -1)
)


def _transaction(number: int, committed: datetime) -> list[bytes]:
    ticks = (committed - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    text = str(number).encode()
    return [
        b"B" + struct.pack("!QqI", number * 100, ticks, number),
        _RELATION,
        b"I" + struct.pack("!I", _OID) + b"N" + struct.pack("!h", 1) + b"t" + struct.pack("!I", len(text)) + text,
        b"C" + struct.pack("!BQQq", 0, number * 100, number * 100 + 8, ticks),
    ]


def test_sequences_rise_where_commit_times_step_back(postgres: Database, tmp_path: Path) -> None:
    replica = Replica(postgres, tmp_path)
    at = datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)
    times = [at, at - timedelta(hours=2), at + timedelta(milliseconds=10)]
    with postgres.connect() as connection:
        bronze = Bronze(LocalStore(tmp_path / "bronze", mkdir=True))
        look = _Look(connection, {_OID: _TABLE}, Form(), bronze, state=TaskState(), tell=print)
        for number, time in enumerate(times, start=1):
            for message in _transaction(number, time):
                look.take(message)
        look.write_all()
    assert look.end == 308
    rows = sorted(replica.rows(), key=lambda row: row["id"])
    assert [row["ar_h_change_seq"] for row in rows] == [
        f"2026030110000050{1:019d}",
        f"2026030110000050{2:019d}",
        f"2026030110000051{3:019d}",
    ]
    assert rows[1]["dms_timestamp"] == "2026-03-01 08:00:00.500000"
    assert sorted(name[:13] for name in replica.names()) == ["2026/03/01/08", "2026/03/01/10"]


@pytest.mark.parametrize("message", [b"Y\0\0\0\1", b"O\0", b"M\0\0"])
def test_messages_of_no_rows_tell_nothing(message: bytes) -> None:
    assert decode(message) is None
