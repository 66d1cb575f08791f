"""A table is changed by compare-and-swap, file by file, and stays readable by everyone."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, QueryBuilder, TableFeatures, write_deltalake

from datalake_assets.lake.spec.tables import TableColumn, TableSpec
from datalake_assets.lake.store.conflicts import ATTEMPTS, ConflictError
from datalake_assets.lake.store.files import statistics, write_files
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import ProtocolError, SchemaChangeError, Snapshot
from datalake_assets.lake.store.table import Table

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
IN_MARCH, IN_APRIL = {"event_date": [MARCH]}, {"event_date": [APRIL]}
OF_MARCH = CommitNotes([MARCH], shape="s1")
AT = datetime(2026, 3, 1, 10, 0, 0, 123_456, tzinfo=UTC)


def spec(key: tuple[str, ...] = ("id",), partition_by: tuple[str, ...] = ("event_date",), **types: str) -> TableSpec:
    """A table with these columns; `id`, `n` and `event_date` unless told otherwise."""
    columns = types or {"id": "string", "n": "int64", "event_date": "date"}
    return TableSpec(
        zone="silver",
        name="things",
        description="Things of a test.",
        columns={name: TableColumn(kind) for name, kind in columns.items()},
        key=key,
        partition_by=partition_by,
    )


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table that does not exist yet."""
    return Table(spec(), str(tmp_path / "things"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No pause is made between tries; gives the pauses that would have been."""
    pauses: list[float] = []
    monkeypatch.setattr("datalake_assets.lake.store.conflicts.time.sleep", pauses.append)
    return pauses


def things(*rows: tuple[str | None, int, date | None]) -> pl.DataFrame:
    """Rows of id, n and event date."""
    return pl.DataFrame(rows, schema=Table(spec(), "").dtypes, orient="row")


def keys(*ids: str | None) -> pl.DataFrame:
    return pl.DataFrame({"id": ids}, schema={"id": pl.String})


def content(table: Table) -> list[tuple[Any, ...]]:
    """The rows, as another reader of Delta tables sees them."""
    return sorted(pl.scan_delta(table.uri).select("id", "n", "event_date").collect().rows(), key=repr)


def in_sql(table: Table, condition: str) -> pl.DataFrame:
    """The rows that a condition picks, as DataFusion finds them."""
    found = QueryBuilder().register("t", DeltaTable(table.uri)).execute(f"SELECT * FROM t WHERE {condition}")
    return pl.DataFrame(found.read_all())


def on_disk(table: Table) -> set[str]:
    """The Parquet files that lie in a table's folder, live or not."""
    return {
        str(file.relative_to(table.uri)) for file in Path(table.uri).rglob("*.parquet") if "_delta_log" not in str(file)
    }


def paths(table: Table) -> set[str]:
    return set(table.open().files["path"])


# --- compare and swap


def test_a_table_that_is_not_there_has_nothing(table: Table) -> None:
    seen = table.open()
    assert (seen.exists, seen.version, seen.row_count, seen.shape, seen.commits_since(-1)) == (False, -1, 0, None, [])
    assert seen.scan(IN_MARCH).collect().is_empty()
    assert seen.fits


def test_a_change_of_what_somebody_else_changed_is_refused(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    stale = table.open()
    table.open().change(add=things(("a", 2, MARCH)), remove=keys("a"), on=["id"], within=IN_MARCH)
    with pytest.raises(ConflictError, match="things"):
        stale.change(add=things(("a", 3, MARCH)), remove=keys("a"), on=["id"], within=IN_MARCH)
    assert content(table) == [("a", 2, MARCH)]


def test_an_addition_beside_rows_that_came_meanwhile_is_refused(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    stale = table.open()
    table.open().change(add=things(("b", 1, MARCH)))
    with pytest.raises(ConflictError):
        stale.change(add=things(("b", 1, MARCH)), within=IN_MARCH)
    assert content(table) == [("a", 1, MARCH), ("b", 1, MARCH)]


def test_a_change_of_other_partitions_does_not_disturb(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("b", 1, APRIL)))
    stale = table.open()
    table.open().change(add=things(("b", 2, APRIL)), remove=keys("b"), on=["id"], within=IN_APRIL)
    version = stale.change(add=things(("a", 2, MARCH)), remove=keys("a"), on=["id"], within=IN_MARCH)
    assert version == 2
    assert content(table) == [("a", 2, MARCH), ("b", 2, APRIL)]


def test_a_change_of_other_partitions_disturbs_who_decides_on_exactly_this_version(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    stale = table.open()
    table.open().change(add=things(("b", 1, APRIL)), within=IN_APRIL)
    with pytest.raises(ConflictError):
        stale.change(add=things(("c", 1, MARCH)), within=IN_MARCH, exactly_here=True)
    with pytest.raises(ConflictError):
        stale.replace(things(("c", 1, MARCH)), within=IN_MARCH, exactly_here=True)
    assert content(table) == [("a", 1, MARCH), ("b", 1, APRIL)]


def test_a_date_that_came_and_went_meanwhile_disturbs_who_decided_on_it(table: Table) -> None:
    """Its files are as they were, none; but what was decided may rest on a row that was there between."""
    table.open().change(add=things(("b", 1, APRIL)))
    stale = table.open()
    table.open().change(add=things(("a", 1, MARCH)), notes=OF_MARCH)
    table.open().change(remove=keys("a"), on=["id"], notes=OF_MARCH)
    with pytest.raises(ConflictError):
        stale.change(add=things(("c", 1, MARCH)), within=IN_MARCH)


def test_a_change_under_another_shape_than_the_table_has_by_now_is_refused(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)), notes=OF_MARCH)
    stale = table.open()
    table.open().change(add=things(("b", 1, APRIL)), within=IN_APRIL, notes=CommitNotes([APRIL], shape="s2"))
    with pytest.raises(ConflictError):
        stale.change(add=things(("c", 1, MARCH)), within=IN_MARCH, notes=OF_MARCH)


def test_a_table_that_was_made_anew_meanwhile_is_not_written(table: Table, tmp_path: Path) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    stale = table.open()
    Path(table.uri).rename(tmp_path / "old")
    for _ in range(2):
        table.open().change(add=things(("b", 1, MARCH)))
    with pytest.raises(ConflictError):
        stale.change(add=things(("c", 1, APRIL)), within=IN_APRIL)
    assert content(table) == [("b", 1, MARCH)] * 2


def test_of_two_that_make_a_table_one_is_refused(table: Table) -> None:
    first, second = table.open(), table.open()
    first.change(add=things(("a", 1, MARCH)))
    with pytest.raises(ConflictError):
        second.change(add=things(("b", 1, MARCH)))
    assert content(table) == [("a", 1, MARCH)]
    assert len(on_disk(table)) == 1


def test_who_is_disturbed_decides_again_on_the_table_as_it_is(table: Table, impatient: list[float]) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    seen_by_us: list[int] = []

    def count_up(seen: Snapshot) -> int:
        n = int(seen.scan().collect()["n"].item())
        seen_by_us.append(n)
        if n == 1:  # somebody else is faster
            table.open().change(add=things(("a", 10, MARCH)), remove=keys("a"), on=["id"])
        return seen.change(add=things(("a", n + 1, MARCH)), remove=keys("a"), on=["id"])

    assert table.transact(count_up) == 2
    assert seen_by_us == [1, 10]
    assert content(table) == [("a", 11, MARCH)]


def test_a_conflict_that_never_ends_is_raised(table: Table, impatient: list[float]) -> None:
    tries: list[int] = []

    def decide(seen: Snapshot) -> None:
        tries.append(seen.version)
        raise ConflictError("somebody else")

    with pytest.raises(ConflictError, match=f"things: other writers came between {ATTEMPTS} times; run it again"):
        table.transact(decide)
    assert len(tries) == ATTEMPTS
    assert len(impatient) == ATTEMPTS - 1
    assert max(impatient) <= 1


def test_a_refused_commit_leaves_no_file(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    stale = table.open()
    table.open().change(add=things(("b", 1, MARCH)))
    before = on_disk(table)
    writes: tuple[Callable[[], int], ...] = (
        lambda: stale.change(add=things(("c", 1, MARCH), ("d", 1, None))),
        lambda: stale.replace(things(("c", 1, MARCH))),
        lambda: stale.swap(
            write_files(things(("c", 1, MARCH)), table.uri, table.spec, rows_per_file=9), notes=OF_MARCH
        ),
    )
    for write in writes:
        with pytest.raises(ConflictError):
            write()
    assert on_disk(table) == before


# --- which rows, which files


def test_only_files_that_hold_removed_rows_are_written_anew(table: Table) -> None:
    for n in range(3):
        table.open().change(add=things((f"a{n}", 1, MARCH), (f"b{n}", 1, MARCH)))
    before = {row["path"]: row["min.id"] for row in table.open().files.iter_rows(named=True)}
    table.open().change(add=things(("a1", 2, MARCH)), remove=keys("a1", "a1x"), on=["id"])
    assert {before[path] for path in before.keys() - paths(table)} == {"a1"}
    assert [n for i, n, _ in content(table) if i == "a1"] == [2]
    assert len(content(table)) == 6


def test_removing_what_is_not_there_touches_no_file(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("c", 1, MARCH)))
    before = paths(table)
    table.open().change(remove=keys("b"), on=["id"])
    assert paths(table) == before


def test_a_row_is_removed_within_the_partitions_that_are_told(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("a", 2, APRIL), ("a", 3, None)))
    table.open().change(remove=keys("a"), on=["id"], within={"event_date": [MARCH, None]})
    assert content(table) == [("a", 2, APRIL)]


def test_null_equals_null_when_rows_are_removed(table: Table) -> None:
    table.open().change(add=things((None, 1, MARCH), ("a", 1, None), ("b", 1, MARCH)))
    table.open().change(remove=keys(None), on=["id"])
    assert content(table) == [("a", 1, None), ("b", 1, MARCH)]
    pair = pl.DataFrame({"id": ["a"], "event_date": [None]}, schema={"id": pl.String, "event_date": pl.Date})
    table.open().change(remove=pair, on=["id", "event_date"])
    assert content(table) == [("b", 1, MARCH)]


def test_replacing_a_partition_leaves_the_others(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("b", 1, APRIL), ("c", 1, None)))
    table.open().replace(things(("d", 1, None)), within={"event_date": [None]})
    assert content(table) == [("a", 1, MARCH), ("b", 1, APRIL), ("d", 1, None)]
    table.open().replace(things(), within=IN_MARCH)
    assert content(table) == [("b", 1, APRIL), ("d", 1, None)]
    table.open().replace(things(("e", 1, MARCH)))
    assert content(table) == [("e", 1, MARCH)]


def test_small_files_are_put_together_where_they_have_become_many(table: Table) -> None:
    for n in range(40):
        table.open().change(add=things((f"{n:02}", n, MARCH)), within=IN_MARCH)
    table.open().change(add=things(("x", 1, APRIL)), within=IN_APRIL)
    assert len(paths(table)) < 20
    assert content(table) == [(f"{n:02}", n, MARCH) for n in range(40)] + [("x", 1, APRIL)]


def test_many_rows_are_cut_into_files(table: Table) -> None:
    table.open().change(add=things(*((f"{n}", n, MARCH) for n in range(10))), rows_per_file=4)
    assert sorted(table.open().files["num_records"]) == [2, 4, 4]
    assert table.open().row_count == 10


def test_a_partition_without_a_value_is_found_by_every_reader(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("b", 2, None)))
    assert table.open().scan({"event_date": [None]}).collect().rows() == [("b", 2, None)]
    assert table.open().scan({"event_date": [None, MARCH]}).collect().height == 2
    assert in_sql(table, "event_date IS NULL")["id"].to_list() == ["b"]
    assert pl.scan_delta(table.uri).filter(pl.col("event_date").is_null()).collect()["id"].to_list() == ["b"]
    assert table.open().scan_keys(keys("b")).collect().rows() == [("b", 2, None)]


def test_the_rows_that_came_or_went_are_told_from_the_files_that_did(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("b", 1, MARCH), (None, 1, MARCH)))
    older = table.open()
    table.open().change(add=things(("b", 2, MARCH), ("c", 1, APRIL)), remove=keys("b", None), on=["id"])
    now = table.open()
    assert set(now.changed_since(older, ["id"])["id"]) == {"c", None}  # `b` is there before and after
    assert set(now.changed_since(older, ["id", "n"]).rows()) == {("b", 1), ("b", 2), ("c", 1), (None, 1)}
    assert now.changed_since(now, ["id"]).is_empty()
    assert set(now.changed_since(now.at(0), ["id"])["id"]) == {"c", None}


# --- statistics


def bounds(column: str, kind: str, *values: Any) -> tuple[Any, Any] | None:
    """The bounds of a column of some type, as they stand in the log."""
    one = spec(key=(column,), partition_by=(), **{column: kind})
    rows = pl.DataFrame({column: values}, schema=Table(one, "").dtypes)
    found = statistics(rows, one.statistics)
    return (found["minValues"][column], found["maxValues"][column]) if column in found["minValues"] else None


def test_a_decimal_of_more_digits_than_a_double_holds_has_no_bounds() -> None:
    """They are read as doubles: `9999999999999999.99` was a bound below the value, and hid its row."""
    assert bounds("x", "decimal(18,2)", Decimal("9999999999999999.99")) is None
    assert bounds("x", "decimal(15,2)", Decimal("-0.10"), Decimal("12.50")) == (-0.1, 12.5)


@pytest.mark.parametrize("tail", ["a", "z" * 200, "\U0010ffff" * 3])
def test_a_long_text_is_found_by_every_reader_though_its_bound_is_cut(table: Table, tail: str) -> None:
    long = "k" * 64 + tail
    table.open().change(add=things((long, 1, MARCH), ("a" + long, 2, MARCH)))
    assert len(str(table.open().files["max.id"].item())) <= 65
    assert pl.scan_delta(table.uri).filter(pl.col("id") == long).collect()["n"].to_list() == [1]
    assert in_sql(table, f"id = '{long}'")["n"].to_list() == [1]
    assert table.open().scan_keys(keys(long)).collect()["n"].to_list() == [1]
    table.open().change(remove=keys(long), on=["id"])
    assert [n for _, n, _ in content(table)] == [2]


def test_a_moment_between_two_milliseconds_is_found_by_every_reader(tmp_path: Path) -> None:
    table = Table(spec(partition_by=(), id="string", at="timestamp"), str(tmp_path / "things"))
    before_1970 = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    for number, at in enumerate([AT, before_1970]):
        table.open().change(add=pl.DataFrame({"id": [str(number)], "at": [at]}, schema=table.dtypes))
        assert pl.scan_delta(table.uri).filter(pl.col("at") == at).collect()["id"].to_list() == [str(number)]
        assert in_sql(table, f"at = TIMESTAMP '{at:%Y-%m-%d %H:%M:%S.%f}Z'")["id"].to_list() == [str(number)]
    assert bounds("at", "timestamp", AT) == ("2026-03-01T10:00:00.123Z", "2026-03-01T10:00:00.124Z")


@pytest.mark.parametrize("years", [8_100, -2_100])
def test_a_moment_outside_the_years_1_to_9999_leaves_its_file_without_bounds(tmp_path: Path, years: int) -> None:
    table = Table(spec(key=(), partition_by=(), id="string", at="timestamp"), str(tmp_path / "things"))
    ticks = pl.Series([0, years * 365 * 86_400_000_000]).cast(table.dtypes["at"])
    table.open().change(add=pl.DataFrame({"id": ["now", "far"], "at": ticks}, schema=table.dtypes))
    far = pl.col("at").dt.year().is_between(1, 9999).not_()
    assert pl.scan_delta(table.uri).filter(far).collect()["id"].to_list() == ["far"]
    assert in_sql(table, "id = 'far'").height == 1
    assert statistics(table.open().scan().collect(), ["at"])["minValues"] == {}


@pytest.mark.parametrize("days", [3_000_000, -800_000])
def test_a_day_outside_the_years_1_to_9999_leaves_its_file_without_bounds(tmp_path: Path, days: int) -> None:
    """Postgres has such dates, and Python none: the step that wrote one failed, and so did every other try."""
    table = Table(spec(key=(), partition_by=(), id="string", day="date"), str(tmp_path / "things"))
    far = pl.DataFrame({"id": ["now", "far"], "day": pl.Series([0, days]).cast(pl.Date)}, schema=table.dtypes)
    table.open().change(add=far)
    assert pl.scan_delta(table.uri).filter(pl.col("day").cast(pl.Int32) == days).collect()["id"].to_list() == ["far"]
    assert statistics(far, ["day"])["minValues"] == {}


def test_a_column_without_any_value_has_no_bounds() -> None:
    assert bounds("x", "string", None, None) is None
    assert bounds("x", "int64", None, 3) == (3, 3)


# --- schema and protocol


def test_rows_of_another_type_are_refused_because_they_would_be_cast_silently(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    for wrong in (pl.lit(2.9), pl.lit("7"), pl.lit(1, pl.Int32)):
        with pytest.raises(SchemaChangeError, match=r"these rows are not the table's: n: .* instead of Int64"):
            table.open().change(add=things(("b", 1, MARCH)).with_columns(n=wrong))
    with pytest.raises(SchemaChangeError, match="n: None instead of Int64"):
        table.open().replace(things(("b", 1, MARCH)).drop("n"))
    assert content(table) == [("a", 1, MARCH)]


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Paris")])
def test_a_timestamp_that_is_not_utc_microseconds_is_refused(tmp_path: Path, dtype: pl.Datetime) -> None:
    """A timestamp without a zone would raise the table's protocol, and close it to some readers."""
    table = Table(spec(partition_by=(), id="string", at="timestamp"), str(tmp_path / "things"))
    with pytest.raises(SchemaChangeError, match="at: Datetime"):
        table.open().change(add=pl.DataFrame({"id": ["a"], "at": [None]}, schema={"id": pl.String, "at": dtype}))
    assert not table.open().exists


def test_a_table_of_other_columns_is_read_but_not_written(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    other = Table(spec(id="string", n="double", colour="string", event_date="date"), table.uri)
    assert not other.open().fits
    assert other.open().other_columns() == ["n: Int64 -> Float64", "colour: none -> String"]
    assert other.open().scan().select("id", "colour").collect().rows() == [("a", None)]
    rows = pl.DataFrame([("b", 1.5, "red", MARCH)], schema=other.dtypes, orient="row")
    with pytest.raises(SchemaChangeError, match="the table's columns are others"):
        other.open().change(add=rows)
    assert len(on_disk(table)) == 1


def test_a_swap_puts_other_rows_and_columns_in_place_in_one_commit(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH), ("b", 1, None)), notes=OF_MARCH)
    other = Table(spec(id="string", colour="string", event_date="date"), table.uri)
    rows = pl.DataFrame([("c", "red", APRIL)], schema=other.dtypes, orient="row")
    stale, table_id = other.open(), other.open().table_id
    written = write_files(rows, other.uri, other.spec, rows_per_file=9)
    assert other.open().swap(written, notes=CommitNotes([APRIL], shape="s2")) == 1
    now = other.open()
    assert (now.fits, now.shape, now.version, now.table_id) == (True, "s2", 1, table_id)
    assert now.scan().collect().rows() == rows.rows()
    assert other.open().at(0).row_count == 2
    again = write_files(rows, other.uri, other.spec, rows_per_file=9)
    with pytest.raises(ConflictError):
        stale.swap(again, notes=OF_MARCH)
    assert other.open().scan().collect().rows() == rows.rows()


def test_who_decided_before_a_swap_writes_nothing_after_it(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    stale = table.open()
    other = Table(spec(id="string", colour="string", event_date="date"), table.uri)
    other.open().swap([], notes=CommitNotes(shape="s2"))
    with pytest.raises(ConflictError):
        stale.change(add=things(("b", 1, APRIL)), within=IN_APRIL)
    assert other.open().row_count == 0


def test_every_write_leaves_the_protocol_as_low_as_it_can_be(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    table.open().change(add=things(("a", 2, MARCH)), remove=keys("a"), on=["id"])
    table.open().replace(things(("b", 1, None)))
    table.open().swap(write_files(things(("c", 1, MARCH)), table.uri, table.spec, rows_per_file=9), notes=OF_MARCH)
    protocol = DeltaTable(table.uri).protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert (protocol.reader_features, protocol.writer_features) == (None, None)


def raise_reader(uri: str) -> None:
    DeltaTable(uri).alter.add_feature(TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True)


def raise_writer(uri: str) -> None:
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})


@pytest.mark.parametrize("raised", [raise_reader, raise_writer])
def test_a_table_whose_protocol_somebody_raised_is_not_written(table: Table, raised: Callable[[str], None]) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    raised(table.uri)
    written = write_files(things(("b", 1, MARCH)), table.uri, table.spec, rows_per_file=9)
    writes: tuple[Callable[[], int], ...] = (
        lambda: table.open().change(add=things(("b", 1, MARCH))),
        lambda: table.open().replace(things(("b", 1, MARCH))),
        lambda: table.open().swap(written, notes=OF_MARCH),
    )
    for write in writes:
        with pytest.raises(ProtocolError, match="undo the change of the table's features"):
            write()
    assert table.open().scan().collect().rows() == [("a", 1, MARCH)]


# --- what the log tells


def foreign_append(table: Table, rows: pl.DataFrame, metadata: str | None = None) -> None:
    """Rows that another tool wrote."""
    properties = CommitProperties(custom_metadata={"userMetadata": metadata}) if metadata else None
    write_deltalake(table.uri, rows, mode="append", commit_properties=properties)


def test_commits_tell_which_dates_they_touched(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)), notes=OF_MARCH)
    table.open().change(add=things(("b", 1, APRIL)), notes=CommitNotes([APRIL, MARCH]))
    table.open().change(add=things(("c", 1, None)))
    commits = table.open().commits_since(-1) or []
    assert [(c.version, c.touched_dates) for c in commits] == [(0, {MARCH}), (1, {MARCH, APRIL}), (2, frozenset())]
    assert [c.version for c in table.open().commits_since(1) or []] == [2]
    assert table.open().commits_since(2) == []
    assert table.open().commits_since(3) is None  # a version that this table never had


def test_a_log_that_is_cut_does_not_tell(table: Table) -> None:
    for n in range(5):
        table.open().change(add=things((f"{n}", 1, MARCH)), notes=OF_MARCH)
    DeltaTable(table.uri).create_checkpoint()
    for version in range(3):
        Path(table.uri, "_delta_log", f"{version:020}.json").unlink()
    assert table.open().commits_since(1) is None
    assert [c.version for c in table.open().commits_since(2) or []] == [3, 4]


@pytest.mark.parametrize("metadata", [None, "nightly load", '{"job": 7}', "[1]", json.dumps({"touched_dates": None})])
def test_a_commit_of_another_tool_does_not_tell_what_it_touched(table: Table, metadata: str | None) -> None:
    """A tool that notes JSON of its own was taken to have touched nothing, so that gold never showed its rows."""
    table.open().change(add=things(("a", 1, MARCH)), notes=OF_MARCH)
    foreign_append(table, things(("b", 1, APRIL)), metadata)
    assert [c.touched_dates for c in table.open().commits_since(0) or []] == [None]
    assert table.open().shape == "s1"


def test_maintenance_by_another_tool_touches_nothing_and_leaves_the_shape(table: Table) -> None:
    for n in range(2):
        table.open().change(add=things((f"{n}", 1, MARCH)), notes=OF_MARCH)
    DeltaTable(table.uri).optimize.compact()
    DeltaTable(table.uri).vacuum(0, dry_run=False, enforce_retention_duration=False)
    commits = table.open().commits_since(1) or []
    assert commits
    assert {c.touched_dates for c in commits} == {frozenset()}
    assert table.open().shape == "s1"


def test_files_of_another_tool_are_changed_like_any(table: Table) -> None:
    table.open().change(add=things(("a", 1, MARCH)))
    foreign_append(table, things(("b", 1, MARCH), ("c", 1, None)))
    table.open().change(add=things(("b", 2, MARCH)), remove=keys("b", "c"), on=["id"])
    assert content(table) == [("a", 1, MARCH), ("b", 2, MARCH)]


def test_the_log_tells_of_a_commit_without_opening_the_table(table: Table) -> None:
    assert table.log_stamp(0) is None
    table.open().change(add=things(("a", 1, MARCH)))
    stamp = table.log_stamp(0)
    assert stamp
    assert table.log_stamp(1) is None
    table.open().change(add=things(("b", 1, MARCH)), notes=OF_MARCH)
    assert table.log_stamp(0) == stamp != table.log_stamp(1) is not None


def test_every_moment_of_a_year_is_within_the_bounds_of_its_file() -> None:
    for step in range(5):
        at = AT + timedelta(days=91 * step, microseconds=step)
        found = bounds("at", "timestamp", at)
        assert found is not None
        assert datetime.fromisoformat(found[0]) <= at <= datetime.fromisoformat(found[1])
