"""A change of rows in many files is made a part at a time: the rows are the same, and lie as they lay."""

import random
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from datalake_assets.lake.store import rewriting
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.store.table_files import TableFiles
from datalake_assets_tests.lake.tables import KEY, MARCH, content, frame, ids, spec

DAYS = [MARCH + timedelta(days=n) for n in range(12)]
WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "by date within files": ((), ("event_date", "id")),
    "in no order": ((), ()),
    "cut by date": (("event_date",), ()),
    "cut by yes and no": (("open",), ()),
    "cut by yes and no, by date within files": (("open",), ("event_date", "id")),
}


def made(folder: Path, way: str, rows: pl.DataFrame) -> Table:
    cut, clustered = WAYS[way]
    place = Table(replace(spec(cut=cut, open="boolean"), clustered_by=clustered), str(folder / "table"))
    place.open().change(add=rows, rows_per_file=10)
    return place


@pytest.mark.parametrize("dates_known", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_change_of_all_files_is_made_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, *, dates_known: bool
) -> None:
    chosen = random.Random(7)
    days: list[date | None] = [*DAYS, *([] if dates_known else [None])]
    rows = [(f"{n:03}", 1, days[n * len(days) // 240]) for n in range(240)]
    place = made(tmp_path, way, frame(*rows).with_columns(open=pl.col("id").str.ends_with("7")))
    gone = chosen.sample(rows, 60)
    again = [(name, 2, day) for name, _, day in gone[:40]]
    new = [(f"new {n}", 2, chosen.choice([*days, DAYS[-1] + timedelta(days=3)])) for n in range(20)]
    at_once: list[int] = []
    scan = TableFiles.scan_files

    def watched(seen: TableFiles, files: pl.DataFrame, *columns: list[str]) -> pl.LazyFrame:
        if not columns:
            at_once.append(int(files["num_records"].sum()))
        return scan(seen, files, *columns)

    monkeypatch.setattr(rewriting, "_ROWS_AT_A_TIME", 50)
    monkeypatch.setattr(TableFiles, "scan_files", watched)
    add = frame(*again, *new).with_columns(open=pl.lit(value=True))
    place.open().change(add=add, remove=ids(*(name for name, *_ in gone)), on=KEY)
    assert len(at_once) > 3
    assert max(at_once) <= 60
    assert content(place) == sorted([row for row in rows if row not in gone] + again + new)
    if way == "by date within files" and dates_known:  # what was added lies among the rows of its days
        spans = place.open().files.select("min.event_date", "max.event_date").sort("min.event_date").rows()
        assert sum(last > first for (_, last), (first, _) in pairwise(spans)) <= len(spans) // 3
