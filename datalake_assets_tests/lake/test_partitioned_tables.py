"""A table may be cut by day, by month or not at all: everyone reads the same rows, and one commit cuts it otherwise."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder
from deltalake.transaction import AddAction

from datalake_assets.lake.spec.columns import EVENT_MONTH
from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec
from datalake_assets.lake.store import table_files
from datalake_assets.lake.store.conflicts import ConflictError
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import SchemaChangeError, Snapshot
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.store.table_form import put_commit
from datalake_assets_tests.lake.tables import APRIL, COLUMNS, KEY, MARCH, Row, content, frame, ids

CUTS: dict[str, tuple[str, ...]] = {"none": (), "month": ("event_month",), "day": ("event_date",)}
LATE_MARCH, LONG_AGO = date(2026, 3, 31), date(2019, 2, 28)
ROWS: list[Row] = [("a", 1, MARCH), ("b", 2, LATE_MARCH), ("c", 3, APRIL), ("d", 4, None), ("e", 5, LONG_AGO)]
MONTHS = [date(2026, 3, 1), date(2026, 3, 1), APRIL, None, date(2019, 2, 1)]


def cut(folder: Path, by: str, **columns: str) -> Table:
    """The table in a folder, as the registry has it when it is cut so."""
    spec = TableSpec(
        zone="silver",
        name="table",
        description="A table of a test.",
        columns=COLUMNS | {name: TableColumn(type_) for name, type_ in columns.items()},
        key=("id",),
        partition_by=CUTS[by],
        clustered_by=("event_date", "id"),
    )
    return Table(spec, str(folder / "table"))


def swap(place: Table, *rows: Row, touched: tuple[date, ...] = ()) -> int:
    """Replace all rows, and the form, by that of the registry."""
    seen = place.open()
    return seen.swap(write_files(frame(*rows), place.uri, place.spec), notes=CommitNotes(touched, "a shape"))


def live(place: Table) -> set[str]:
    return set(place.open().files["path"])


def read_by_polars(uri: str) -> pl.DataFrame:
    return pl.read_delta(uri)


def read_by_duckdb(uri: str) -> pl.DataFrame:
    connection = duckdb.connect().register("t", DeltaTable(uri).to_pyarrow_dataset())
    return pl.DataFrame(connection.sql("SELECT * FROM t").to_arrow_table())


def read_by_datafusion(uri: str) -> pl.DataFrame:
    return pl.DataFrame(QueryBuilder().register("t", DeltaTable(uri)).execute("SELECT * FROM t").read_all())


READERS: list[Callable[[str], pl.DataFrame]] = [read_by_polars, read_by_duckdb, read_by_datafusion]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("by", CUTS)
def test_every_reader_sees_the_same_rows_however_the_table_is_cut(
    tmp_path: Path, by: str, read: Callable[[str], pl.DataFrame]
) -> None:
    place = cut(tmp_path, by)
    place.open().change(add=frame(*ROWS))
    found = read(place.uri).sort("id")
    assert found.select("id", "n", "event_date").rows() == ROWS
    assert place.open().scan().sort("id").collect().rows() == ROWS
    assert (EVENT_MONTH in found.columns) == (by == "month")
    if by == "month":
        assert found[EVENT_MONTH].to_list() == MONTHS


@pytest.mark.parametrize(("by", "files"), [("none", 1), ("month", 4), ("day", 5)])
def test_rows_lie_in_the_partition_of_their_date_and_those_without_one_in_that_of_null(
    tmp_path: Path, by: str, files: int
) -> None:
    place = cut(tmp_path, by)
    place.open().change(add=frame(*ROWS))
    assert len(live(place)) == files
    without_date = place.open().files.filter(pl.col("path").str.contains("__HIVE_DEFAULT_PARTITION__"))
    assert without_date["num_records"].to_list() == ([] if by == "none" else [1])


@pytest.mark.parametrize(("by", "files"), [("none", 2), ("month", 1), ("day", 1)])
def test_event_dates_are_looked_for_in_the_files_that_can_hold_them(tmp_path: Path, by: str, files: int) -> None:
    place = cut(tmp_path, by)
    for row in ROWS:
        place.open().change(add=frame(row))
    seen = place.open()
    dates = {"event_date": [LATE_MARCH]}
    assert seen.scan(dates).collect().rows() == [("b", 2, LATE_MARCH)]
    holding = seen.files_within(dates)
    assert holding.height == files  # that of the row without a date has no bounds, and can't be passed over
    assert ("b", 2, LATE_MARCH) in seen.scan_files(holding).drop("_file").collect().rows()


@pytest.mark.parametrize("by", CUTS)
def test_a_row_is_replaced_wherever_it_lies_and_moves_to_the_partition_of_its_new_date(tmp_path: Path, by: str) -> None:
    place = cut(tmp_path, by)
    place.open().change(add=frame(*ROWS))
    before = live(place)
    place.open().change(add=frame(("e", 6, APRIL), ("d", 7, MARCH)), remove=ids("e", "d"), on=KEY)
    assert content(place) == [*ROWS[:3], ("d", 7, MARCH), ("e", 6, APRIL)]
    if by != "none":
        kept = before & live(place)
        assert place.open().files.filter(pl.col("path").is_in(list(kept)))["num_records"].sum() == 3


@pytest.mark.parametrize("after", CUTS)
@pytest.mark.parametrize("before", CUTS)
def test_one_commit_cuts_a_table_otherwise_and_everyone_goes_on_reading(
    tmp_path: Path, before: str, after: str
) -> None:
    old, new = cut(tmp_path, before), cut(tmp_path, after)
    old.open().change(add=frame(*ROWS[:3]))
    old.open().change(add=frame(*ROWS[3:]))
    was = old.open()
    assert swap(new, *ROWS, ("f", 6, APRIL), touched=(APRIL,)) == 2
    now = new.open()
    assert now.fits
    assert (now.partition_by, now.table_id, now.shape) == (CUTS[after], was.table_id, "a shape")
    assert [sorted(commit.touched_dates or ()) for commit in now.commits_since(1) or ()] == [[APRIL]]
    for read in READERS:
        assert read(new.uri).select("id", "n", "event_date").sort("id").rows() == [*ROWS, ("f", 6, APRIL)]
    protocol = DeltaTable(new.uri).protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_older_and_newer_versions_are_read_across_the_commit_and_a_checkpoint(tmp_path: Path) -> None:
    cut(tmp_path, "day").open().change(add=frame(*ROWS))
    swap(cut(tmp_path, "month"), *ROWS, ("f", 6, APRIL))
    place = cut(tmp_path, "month")
    place.open().change(add=frame(("g", 7, APRIL)))
    DeltaTable(place.uri).create_checkpoint()
    place.open().change(remove=ids("a"), on=KEY)
    heights = [pl.read_delta(place.uri, version=n).height for n in range(4)]
    assert heights == [5, 6, 7, 6]
    # The registry's reading follows the form that each version had.
    assert [place.open().at(n).scan().collect().height for n in range(4)] == heights
    older = place.open().at(0)
    assert older.scan_files(older.files).drop("_file").sort("id").collect().rows() == ROWS
    assert place.open().changed_since(older, ["id", "event_date"]).sort("id").rows() == [
        ("a", MARCH),
        ("f", APRIL),
        ("g", APRIL),
    ]


def test_properties_that_somebody_set_stay_and_those_of_the_registry_follow_the_form(tmp_path: Path) -> None:
    old, new = cut(tmp_path, "day"), cut(tmp_path, "none", at="timestamp")
    old.open().change(add=frame(*ROWS))
    DeltaTable(old.uri).alter.set_table_properties({"delta.randomizeFilePrefixes": "false"})
    made = frame(*ROWS, at=pl.lit(datetime(2026, 3, 1, tzinfo=UTC), dtype=pl.Datetime("us", "UTC")))
    new.open().swap(write_files(made, new.uri, new.spec), notes=CommitNotes())
    found = DeltaTable(new.uri).metadata().configuration
    assert found["delta.randomizeFilePrefixes"] == "false"
    assert found["delta.dataSkippingStatsColumns"] == "id,event_date,at"


def test_small_files_are_put_together_month_by_month(tmp_path: Path) -> None:
    """An append to one month leaves the others as they are, however many small files they have together."""
    place = cut(tmp_path, "month")
    old = [(f"o{n}", n, date(2020 + n // 12, 1 + n % 12, 1)) for n in range(20)]
    place.open().change(add=frame(*old))
    before = live(place)
    for n in range(18):
        place.open().change(add=frame((f"{n}", n, APRIL)), within={"event_date": [APRIL]})
    assert len(before) == 20
    assert before < live(place)
    assert len(live(place)) < 20 + 16
    assert len(content(place)) == 38


@pytest.mark.parametrize("rows_at_a_time", [1_000, 250])
def test_many_partitions_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_a_time: int) -> None:
    """A scan for each had Polars warn of a deadlock; of a long table some files are read after the others."""
    monkeypatch.setattr(table_files, "_ROWS_AT_A_TIME", rows_at_a_time)
    place = cut(tmp_path, "day")
    rows = [(f"{n}", n, MARCH + timedelta(days=n)) for n in range(600)]
    place.open().change(add=frame(*rows))
    assert place.open().scan_keys(frame(*rows).select("id", "event_date")).sort("n").collect().rows() == rows


def test_a_table_that_is_cut_otherwise_takes_no_rows_and_is_read_as_it_is(tmp_path: Path) -> None:
    cut(tmp_path, "day").open().change(add=frame(*ROWS))
    seen = cut(tmp_path, "month").open()
    assert not seen.fits
    assert seen.scan({"event_date": [MARCH]}).collect().rows() == [ROWS[0]]
    writes: tuple[Callable[[], Any], ...] = (
        lambda: seen.change(add=frame(("b", 1, MARCH))),
        lambda: seen.change(remove=ids("a"), on=KEY),
        lambda: seen.replace(frame(("b", 1, MARCH))),
    )
    for write in writes:
        with pytest.raises(SchemaChangeError, match="partition_by: event_date -> event_month"):
            write()
    assert content(cut(tmp_path, "day")) == ROWS


def test_a_swap_that_somebody_came_before_changes_nothing_and_leaves_no_file(tmp_path: Path) -> None:
    old, new = cut(tmp_path, "none"), cut(tmp_path, "month")
    old.open().change(add=frame(*ROWS))
    seen = new.open()
    actions = write_files(frame(*ROWS), new.uri, new.spec)
    old.open().change(add=frame(("f", 6, MARCH)))
    with pytest.raises(ConflictError, match="somebody else has committed version 1"):
        seen.swap(actions, notes=CommitNotes())
    assert content(old) == [*ROWS, ("f", 6, MARCH)]
    assert sorted(p.name for p in Path(new.uri).rglob("*.parquet")) == sorted(live(old))


def test_of_many_swaps_at_once_one_is_made(tmp_path: Path) -> None:
    cut(tmp_path, "none").open().change(add=frame(*ROWS))
    places = [cut(tmp_path, by) for by in ("month", "day", "month", "day")]
    seen = [(place, place.open()) for place in places]
    made = [(now, write_files(frame(*ROWS), place.uri, place.spec)) for place, now in seen]

    def swapped(now: Snapshot, actions: list[AddAction]) -> bool:
        try:
            return now.swap(actions, notes=CommitNotes()) == 1
        except ConflictError:
            return False

    with ThreadPoolExecutor(len(made)) as pool:
        assert sorted(pool.map(lambda one: swapped(*one), made)) == [False, False, False, True]
    assert content(places[0]) == ROWS
    assert len(list(Path(places[0].uri).rglob("*.parquet"))) == 1 + len(live(places[0]))  # the one before, and these


def test_a_writer_that_read_before_the_swap_decides_again(tmp_path: Path) -> None:
    old, new = cut(tmp_path, "none"), cut(tmp_path, "month")
    old.open().change(add=frame(*ROWS))
    seen = old.open()
    swap(new, *ROWS)
    with pytest.raises(ConflictError):
        seen.change(add=frame(("f", 6, MARCH)), within={"event_date": [date(2030, 1, 1)]})
    assert content(new) == ROWS


@pytest.mark.parametrize("by", CUTS)
def test_a_writer_of_other_dates_does_not_disturb_and_one_of_the_same_dates_does(tmp_path: Path, by: str) -> None:
    place = cut(tmp_path, by)
    place.open().change(add=frame(("a", 1, MARCH)))
    march = {"event_date": [MARCH]}
    seen = place.open()
    place.open().change(add=frame(("b", 2, LATE_MARCH)))
    assert seen.change(add=frame(("c", 3, MARCH)), within=march) == 2
    seen = place.open()
    place.open().change(add=frame(("d", 4, MARCH)))
    with pytest.raises(ConflictError):
        seen.change(add=frame(("e", 5, MARCH)), within=march)
    assert [name for name, _, _ in content(place)] == ["a", "b", "c", "d"]


def test_a_version_is_given_once_whoever_asks_and_however_often(tmp_path: Path) -> None:
    place = cut(tmp_path, "none")
    place.open().change(add=frame(*ROWS))
    mine, other = b'{"commitInfo": {"txnId": "1"}}\n', b'{"commitInfo": {"txnId": "2"}}\n'
    assert put_commit(place.uri, 1, mine)
    assert put_commit(place.uri, 1, mine)  # whose answer was lost on the way
    assert not put_commit(place.uri, 1, other)
    assert place.open().version == 1
