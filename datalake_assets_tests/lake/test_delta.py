"""Delta tables stay readable by everyone, and a write does exactly what it says."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from datalake_assets.lake.store import delta

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A place where no table is yet."""
    return str(tmp_path / "table")


def frame(*rows: tuple[str | None, int, date | None]) -> pl.DataFrame:
    """Rows of id, n and event date."""
    schema = {"id": pl.String, "n": pl.Int64, "event_date": pl.Date}
    return pl.DataFrame(rows, schema=schema, orient="row")


def content(uri: str) -> list[tuple[object, ...]]:
    """The rows of a table as another reader sees them, in order."""
    table = pl.from_arrow(DeltaTable(uri).to_pyarrow_table())
    assert isinstance(table, pl.DataFrame)
    return table.select("id", "n", "event_date").sort("id", "n").rows()


def protocol(uri: str) -> tuple[int, int]:
    found = DeltaTable(uri).protocol()
    return found.min_reader_version, found.min_writer_version


def test_a_table_that_is_not_there_has_nothing(uri: str) -> None:
    assert delta.open_table(uri) is None
    assert delta.scan(uri) is None
    assert (delta.position(uri), delta.row_count(uri), delta.commits_since(uri, 0)) == (0, 0, [])


def test_every_write_leaves_the_protocol_as_low_as_it_can_be(uri: str) -> None:
    at = pl.lit(datetime(2026, 3, 1, tzinfo=UTC), dtype=pl.Datetime("us", "UTC")).alias("at")
    exact = pl.lit("1.50").cast(pl.Decimal(12, 2)).alias("price")
    delta.append(uri, frame(("a", 1, MARCH)).with_columns(at, exact), partition_by=("event_date",))
    delta.merge(uri, frame(("a", 2, MARCH)).with_columns(at, exact), key=("id",), within=None)
    delta.replace(uri, frame(("b", 1, MARCH)).with_columns(at, exact), predicate="event_date = DATE '2026-03-01'")
    assert protocol(uri) == (1, 2)
    assert content(uri) == [("b", 1, MARCH)]


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Paris")])
def test_a_timestamp_that_is_not_utc_microseconds_is_refused(uri: str, dtype: pl.Datetime) -> None:
    naive = frame(("a", 1, MARCH)).with_columns(pl.lit(None, dtype=dtype).alias("at"))
    with pytest.raises(delta.ProtocolError, match=r"column 'at' is Datetime.* a timestamp of the lake is UTC"):
        delta.append(uri, naive)
    assert delta.open_table(uri) is None


def test_a_table_whose_protocol_somebody_raised_is_not_written(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH)))
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    assert protocol(uri)[1] > 2
    writes: tuple[Callable[[], None], ...] = (
        lambda: delta.append(uri, frame(("b", 1, MARCH))),
        lambda: delta.merge(uri, frame(("a", 2, MARCH)), key=("id",), within=None),
        lambda: delta.replace(uri, frame(("b", 1, MARCH)), predicate=None),
    )
    for write in writes:
        with pytest.raises(delta.ProtocolError, match="undo the change of the table's features"):
            write()
    assert content(uri) == [("a", 1, MARCH)]


def test_a_changed_column_type_is_refused_because_delta_would_cast_it_silently(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH)))
    with pytest.raises(delta.SchemaChangeError, match=r"n: Int64 -> Float64"):
        delta.append(uri, frame(("b", 1, MARCH)).with_columns(n=2.9))
    with pytest.raises(delta.SchemaChangeError, match=r"n: Int64 -> String"):
        delta.merge(uri, frame(("a", 1, MARCH)).with_columns(n=pl.lit("7")), key=("id",), within=None)
    assert content(uri) == [("a", 1, MARCH)]


def test_a_new_column_is_added_and_old_rows_have_none_in_it(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH)))
    delta.append(uri, frame(("b", 2, MARCH)).with_columns(colour=pl.lit("red")))
    delta.merge(uri, frame(("c", 3, MARCH)).with_columns(size=pl.lit(9)), key=("id",), within=None)
    table = delta.scan(uri)
    assert table is not None
    assert table.sort("id").select("colour", "size").collect().rows() == [(None, None), ("red", None), (None, 9)]


def test_a_merge_updates_what_is_there_and_inserts_the_rest(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH), ("b", 1, MARCH)))
    delta.merge(uri, frame(("b", 2, MARCH), ("c", 2, MARCH)), key=("id",), within=None)
    assert content(uri) == [("a", 1, MARCH), ("b", 2, MARCH), ("c", 2, MARCH)]


def test_a_key_that_is_null_is_one_key(uri: str) -> None:
    delta.append(uri, frame((None, 1, MARCH), ("a", 1, None)))
    for _ in range(2):
        delta.merge(uri, frame((None, 2, MARCH), ("a", 2, None)), key=("id", "event_date"), within=None)
    assert content(uri) == [(None, 2, MARCH), ("a", 2, None)]


def test_a_merge_inside_some_dates_updates_rows_of_these_and_of_no_date(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH), ("b", 1, APRIL), ("c", 1, None)), partition_by=("event_date",))
    within = delta.one_of("t.event_date", [MARCH, None])
    delta.merge(uri, frame(("a", 2, MARCH), ("c", 2, None)), key=("id",), within=within)
    assert content(uri) == [("a", 2, MARCH), ("b", 1, APRIL), ("c", 2, None)]


def test_a_merge_deletes_the_rows_that_are_marked_and_inserts_none_of_them(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH), ("b", 1, MARCH)))
    marked = frame(("a", 2, MARCH), ("b", 2, MARCH), ("c", 2, MARCH)).with_columns(gone=pl.Series([True, False, True]))
    delta.merge(uri, marked, key=("id",), within=None, deleted="gone")
    assert content(uri) == [("b", 2, MARCH)]


def test_columns_whose_names_need_quotes_can_be_merged(uri: str) -> None:
    odd = frame(("a", 1, MARCH)).rename({"id": 'the "Id"'})
    delta.append(uri, odd)
    delta.merge(uri, odd.with_columns(n=pl.lit(2, dtype=pl.Int64)), key=('the "Id"',), within=None)
    table = delta.scan(uri)
    assert table is not None
    assert table.select("n").collect().rows() == [(2,)]


def test_replacing_rows_leaves_the_others(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH), ("b", 1, APRIL)), partition_by=("event_date",))
    delta.replace(uri, frame(("c", 2, MARCH)), predicate=delta.one_of("event_date", [MARCH]))
    assert content(uri) == [("b", 1, APRIL), ("c", 2, MARCH)]
    delta.replace(uri, frame(), predicate=delta.one_of("event_date", [MARCH]))
    assert content(uri) == [("b", 1, APRIL)]


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        ([], "false"),
        ([None], "x IS NULL"),
        ([MARCH], "x IN (DATE '2026-03-01')"),
        ([date(1, 1, 1)], "x IN (DATE '0001-01-01')"),
        (["it's", None], "x IN ('it''s') OR x IS NULL"),
    ],
)
def test_a_condition_names_its_values(values: list[date | str | None], condition: str) -> None:
    assert delta.one_of("x", values) == condition


def test_commits_tell_which_dates_they_touched(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH)), touched=[MARCH])
    delta.append(uri, frame(("b", 1, MARCH)))
    delta.merge(uri, frame(("a", 2, APRIL)), key=("id",), within=None, touched=[MARCH, APRIL])
    touched = {0: frozenset({MARCH}), 1: frozenset(), 2: frozenset({MARCH, APRIL})}
    assert {c.version: c.touched_dates for c in delta.commits_since(uri, 0)} == touched
    assert [c.version for c in delta.commits_since(uri, 2)] == [2]
    assert delta.commits_since(uri, delta.position(uri)) == []


def test_a_merge_that_changes_nothing_makes_no_commit(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH)))
    delta.merge(uri, frame(), key=("id",), within=None)
    assert delta.position(uri) == 1


def test_two_writers_at_once_lose_nothing(uri: str) -> None:
    delta.append(uri, frame(*((f"{w}{n}", 0, MARCH) for w in "ab" for n in range(5))))
    begin = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(writer: str) -> None:
        begin.wait()
        try:
            for n in range(5):
                delta.merge(uri, frame((f"{writer}{n}", n + 1, MARCH)), key=("id",), within=None)
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert content(uri) == [(f"{w}{n}", n + 1, MARCH) for w in "ab" for n in range(5)]


def test_a_conflict_that_never_ends_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datalake_assets.lake.delta.time.sleep", lambda _: None)
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        raise CommitFailedError

    with pytest.raises(CommitFailedError):
        delta.retry_conflicts(write)
    assert len(tries) == 10


def test_small_files_of_one_partition_are_put_together(uri: str) -> None:
    for n in range(4):
        delta.append(uri, frame((f"a{n}", n, MARCH), (f"b{n}", n, APRIL)), partition_by=("event_date",))
    before = content(uri)
    delta.compact(uri, {"event_date": "2026-03-01"}, most_files=4)
    assert len(DeltaTable(uri).file_uris()) == 8
    delta.compact(uri, {"event_date": "2026-03-01"}, most_files=3)
    assert len(DeltaTable(uri).file_uris()) == 5
    assert content(uri) == before
    assert [c.touched_dates for c in delta.commits_since(uri, 4)] == [frozenset()]


def test_rows_are_counted_from_the_log(uri: str) -> None:
    delta.append(uri, frame(("a", 1, MARCH), ("b", 1, APRIL)), partition_by=("event_date",))
    delta.merge(uri, frame(("c", 1, APRIL)), key=("id",), within=None)
    assert delta.row_count(uri) == 3
