"""A table is readable by everyone, and a commit does exactly what it says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import ProtocolError, SchemaChangeError
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import APRIL, BY_DATE, COLUMNS, KEY, MARCH, added, content, frame, ids, table


def protocol(place: Table) -> tuple[int, int]:
    found = DeltaTable(place.uri).protocol()
    return found.min_reader_version, found.min_writer_version


def test_a_table_that_is_not_there_has_nothing(place: Table) -> None:
    seen = place.open()
    assert (seen.exists, seen.version, seen.table_id, seen.row_count, seen.shape) == (False, -1, "", 0, None)
    assert seen.scan().collect().rows() == []
    assert seen.scan_keys(ids("a")).collect().rows() == []
    assert seen.commits_since(-1) == []
    assert place.log_stamp(0) is None


def test_every_commit_leaves_the_protocol_as_low_as_it_can_be(tmp_path: Path) -> None:
    place = table(tmp_path, by_date=True, at="timestamp", price="decimal(12,2)")
    at = pl.lit(datetime(2026, 3, 1, tzinfo=UTC), dtype=pl.Datetime("us", "UTC"))
    exact = {"at": at, "price": pl.lit("1.50").cast(pl.Decimal(12, 2))}
    place.open().change(add=frame(("a", 1, MARCH), **exact))
    place.open().change(add=frame(("a", 2, MARCH), **exact), remove=ids("a"), on=KEY)
    place.open().replace(frame(("b", 1, MARCH), **exact), within=BY_DATE)
    seen = place.open()
    seen.swap(write_files(seen.scan().collect(), place.uri, place.spec, rows_per_file=10), notes=CommitNotes())
    assert protocol(place) == (1, 2)
    assert content(place) == [("b", 1, MARCH)]


def test_a_table_is_cut_by_yes_and_no(tmp_path: Path) -> None:
    place = table(tmp_path, cut=("open",), open="boolean")
    place.open().change(add=pl.concat([frame(("a", 1, MARCH), open=True), frame(("b", 1, MARCH), open=False)]))
    place.open().change(add=frame(("a", 2, MARCH), open=False), remove=ids("a"), on=KEY)
    assert {path.name for path in Path(place.uri).glob("open=*")} == {"open=true", "open=false"}
    assert content(place) == [("a", 2, MARCH), ("b", 1, MARCH)]
    assert pl.read_delta(place.uri).filter("open").is_empty()
    assert place.open().scan({"open": [False]}).collect().height == 2


def test_a_table_that_is_cut_otherwise_is_read_but_not_written(tmp_path: Path) -> None:
    """A commit of rows does not change by what a table is cut: the values of the new folders would be lost."""
    added(table(tmp_path), ("a", 1, MARCH), ("b", 1, MARCH))
    seen = table(tmp_path, by_date=True).open()
    assert seen.scan_keys(ids("a")).collect().rows() == [("a", 1, MARCH)]
    writes: tuple[Callable[[], int], ...] = (
        lambda: seen.change(remove=ids("a"), on=KEY),
        lambda: seen.replace(frame(("b", 1, MARCH))),
        lambda: seen.rewrite(seen.files),
    )
    for write in writes:
        with pytest.raises(SchemaChangeError, match="partition_by: none -> event_date"):
            write()
    assert len(content(table(tmp_path))) == 2


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Paris")])
def test_a_timestamp_that_is_not_utc_microseconds_is_refused(tmp_path: Path, dtype: pl.Datetime) -> None:
    place = table(tmp_path, at="timestamp")
    with pytest.raises(SchemaChangeError, match=r"at: Datetime.* instead of Datetime.*UTC"):
        place.open().change(add=frame(("a", 1, MARCH), at=pl.lit(None, dtype=dtype)))
    assert not place.open().exists


def test_a_table_whose_protocol_somebody_raised_is_not_written(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    DeltaTable(place.uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    assert protocol(place)[1] > 2
    seen = place.open()
    writes: tuple[Callable[[], int], ...] = (
        lambda: seen.change(add=frame(("b", 1, MARCH))),
        lambda: seen.change(remove=ids("a"), on=KEY),
        lambda: seen.replace(frame(("b", 1, MARCH))),
    )
    for write in writes:
        with pytest.raises(ProtocolError, match="undo the change of the table's features"):
            write()
    assert content(place) == [("a", 1, MARCH)]


def test_rows_of_another_type_are_refused_because_delta_would_cast_them_silently(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    with pytest.raises(SchemaChangeError, match=r"n: Float64 instead of Int64"):
        place.open().change(add=frame(("b", 1, MARCH)).with_columns(n=2.9))
    with pytest.raises(SchemaChangeError, match=r"n: None instead of Int64"):
        place.open().replace(frame(("b", 1, MARCH)).drop("n"))
    assert content(place) == [("a", 1, MARCH)]


def test_a_table_with_other_columns_than_declared_is_read_and_not_written_before_it_is_swapped(tmp_path: Path) -> None:
    added(table(tmp_path), ("a", 1, MARCH))
    wider = table(tmp_path, colour="string")
    seen = wider.open()
    assert not seen.fits
    assert seen.scan().select("id", "colour").collect().rows() == [("a", None)]
    with pytest.raises(SchemaChangeError, match=r"another form \(colour: none -> String\)"):
        seen.change(add=frame(("b", 1, MARCH), colour=pl.lit("red")))
    red = frame(("b", 1, MARCH), colour=pl.lit("red"))
    seen.swap(write_files(red, wider.uri, wider.spec, rows_per_file=10), notes=CommitNotes())
    assert wider.open().fits
    assert wider.open().scan().select("id", "colour").collect().rows() == [("b", "red")]


def test_a_change_removes_rows_by_their_key_and_adds_others_in_one_commit(uncut: Table) -> None:
    added(uncut, ("a", 1, MARCH), ("b", 1, MARCH))
    version = uncut.open().change(add=frame(("b", 2, MARCH), ("c", 2, MARCH)), remove=ids("b", "z"), on=KEY)
    assert (version, uncut.open().version) == (1, 1)
    assert content(uncut) == [("a", 1, MARCH), ("b", 2, MARCH), ("c", 2, MARCH)]


def test_a_key_that_is_null_is_one_key(uncut: Table) -> None:
    added(uncut, (None, 1, MARCH), ("a", 1, None))
    for _ in range(2):
        rows = frame((None, 2, MARCH), ("a", 2, None))
        uncut.open().change(add=rows, remove=rows.select("id", "event_date"), on=["id", "event_date"])
    assert content(uncut) == [(None, 2, MARCH), ("a", 2, None)]


def test_a_change_within_some_dates_leaves_the_rows_of_others(place: Table) -> None:
    added(place, ("a", 1, MARCH), ("a", 1, APRIL), ("a", 1, None))
    within = {"event_date": [MARCH, None]}
    place.open().change(add=frame(("a", 2, MARCH), ("a", 2, None)), remove=ids("a"), on=KEY, within=within)
    assert sorted(content(place), key=str) == [("a", 1, APRIL), ("a", 2, None), ("a", 2, MARCH)]


def test_columns_whose_names_need_quotes_can_be_changed(tmp_path: Path) -> None:
    odd = "the-Id/é"
    declared = table(tmp_path)
    place = replace(declared, spec=replace(declared.spec, columns=COLUMNS | {odd: TableColumn("string")}))
    one = frame(("a", 1, MARCH)).with_columns(pl.lit("x").alias(odd))
    place.open().change(add=one)
    two = one.with_columns(n=pl.lit(2, dtype=pl.Int64))
    place.open().change(add=two, remove=one.select(odd), on=[odd])
    assert content(place) == [("a", 2, MARCH)]


def test_replacing_the_rows_of_a_date_leaves_the_others(place: Table) -> None:
    added(place, ("a", 1, MARCH), ("b", 1, APRIL))
    place.open().replace(frame(("c", 2, MARCH)), within=BY_DATE)
    assert content(place) == [("b", 1, APRIL), ("c", 2, MARCH)]
    place.open().replace(frame(), within=BY_DATE)
    assert content(place) == [("b", 1, APRIL)]


def test_only_the_files_that_hold_removed_rows_are_written_anew(uncut: Table) -> None:
    for n in range(4):
        added(uncut, (f"{n}", n, MARCH), (f"{n + 4}", n, MARCH))
    before = set(uncut.open().files["path"])
    uncut.open().change(remove=ids("2"), on=KEY)
    after = set(uncut.open().files["path"])
    assert (len(before & after), len(after)) == (3, 4)
    assert "2" not in {row[0] for row in content(uncut)}


def test_small_files_of_a_date_are_absorbed_by_a_change_once_they_are_many(place: Table) -> None:
    added(place, ("b", 1, APRIL))
    for n in range(16):
        added(place, (f"a{n:02}", n, MARCH))
    before = [row for row in content(place) if row[0] != "b"]
    assert place.open().files.height == 17
    place.open().change(add=frame(("c", 1, MARCH)), within=BY_DATE)
    files = place.open().files
    assert files.height == 2
    assert content(place) == [*before, ("b", 1, APRIL), ("c", 1, MARCH)]


def test_keys_are_looked_for_in_the_files_that_can_hold_them(uncut: Table) -> None:
    for n in (1, 2, 3):
        added(uncut, (f"{n}0", n, MARCH), (f"{n}9", n, APRIL))
    seen = uncut.open()
    holding = seen.files.filter(pl.col("min.id") == "20")["path"].item()
    for path in set(seen.files["path"]) - {holding}:
        Path(uncut.uri, path).unlink()  # reading one of these would fail
    assert seen.scan_keys(ids("25", "20")).select("id", "n").collect().rows() == [("20", 2)]


def test_rows_are_counted_from_the_log(place: Table) -> None:
    added(place, ("a", 1, MARCH), ("b", 1, APRIL))
    place.open().change(add=frame(("c", 1, APRIL)), remove=ids("a"), on=KEY)
    assert place.open().row_count == 2


def test_the_lakes_memory_is_swept_of_files_it_no_longer_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TableSpec("lake", "memory", "What is remembered.", table(tmp_path).spec.columns, key=("id",))
    place = Table(spec, str(tmp_path / "memory"))
    swept: list[tuple[str, timedelta]] = []
    monkeypatch.setattr(
        "datalake_assets.lake.store.snapshot.delete_dead_files",
        lambda handle, *, retention: swept.append((handle.metadata().description, retention)),
    )
    monkeypatch.setattr("datalake_assets.lake.store.snapshot._SWEPT_EVERY", 2)
    for n in range(5):
        place.open().replace(frame((f"{n}", n, MARCH)))
    assert swept == [("What is remembered.", timedelta(hours=1))] * 2
