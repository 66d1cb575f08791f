"""Two processes that write one lake on S3 at once: no row twice, no row lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datalake_assets.lake.store.table import Table
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.lake.tables import spec

WRITER = """
import sys
from datetime import date
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import frame, ids, spec

place, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
table = Table(spec(by_date=True), place)

def count(seen):
    key, day = "count", date(2026, 3, 1)
    rows = seen.scan({"event_date": [day]}).collect()
    before = rows.filter(id=key)["n"].sum()
    added = frame((key, before + 1, day), (f"{name}{number}", number, day))
    return seen.change(add=added, remove=ids(key), on=["id"], within={"event_date": [day]})

for number in range(rounds):
    table.transact(count)
"""


def test_two_processes_count_in_one_table_and_lose_no_step(aws: Aws) -> None:
    place, rounds = f"s3://{aws.bucket()}/table", 12
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, place, name, str(rounds)], env=environment) for name in "ab"
    ]
    assert [writer.wait(timeout=200) for writer in writers] == [0, 0]
    table = Table(spec(by_date=True), place).open()
    rows = table.scan().collect()
    assert rows.filter(id="count")["n"].to_list() == [2 * rounds]
    assert sorted(rows["id"]) == sorted(["count", *(f"{name}{n}" for name in "ab" for n in range(rounds))])
    assert table.version == 2 * rounds - 1


@pytest.fixture(autouse=True)
def _fresh_stores() -> None:
    from datalake_assets.lake.store.object_store import open_object_store

    open_object_store.cache_clear()
