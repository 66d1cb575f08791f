"""Which files make a full load, and whether it is whole."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from datalake_assets.lake.store.full_loads import FullLoad, LoadFile, full_loads

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)


def files(*told: tuple[str, int], **how: bool) -> list[LoadFile]:
    """Files by name and the minute of their first transfer."""
    return [LoadFile(name, NINE + timedelta(minutes=minute), **{"is_whole": True} | how) for name, minute in told]


def loads(found: list[LoadFile], *, goes_on: bool = True) -> list[tuple[int, bool]]:
    """When each load began (minutes), and whether it is complete."""
    told: tuple[FullLoad, ...] = full_loads(found, changes_between=lambda after, before: goes_on and after != before)
    return [((load.started_at - NINE).seconds // 60, load.is_complete) for load in told]


FIRST = files(("LOAD00000001.parquet", 0), ("LOAD00000002.parquet", 1))


@pytest.mark.parametrize(
    ("reload", "expected"),
    [
        ([], [(0, False)]),
        ([("LOAD00000001.parquet", 5)], [(0, False), (5, True)]),
        ([("LOAD00000001.parquet", 5), ("LOAD00000002.parquet", 6)], [(0, False), (5, True)]),
        ([("LOAD00000002.parquet", 6)], [(0, False), (6, False)]),
        ([("LOAD00000001.parquet", 5), ("LOAD00000003.parquet", 6)], [(0, False), (5, False)]),
        ([("LOAD00000001.parquet", 5), ("LOAD00000001.parquet", 6)], [(0, False), (5, True), (6, True)]),
        ([("2026/01/05/LOAD00000001.parquet", 5)], [(0, False), (5, True)]),
        ([("20260105/LOAD00000001.parquet", 5), ("2026-01/LOAD00000002.csv.gz", 6)], [(0, False), (5, True)]),
        ([("2026/01/05/11/LOAD00000001.parquet", 5)], [(0, False), (5, True)]),
        ([("LOAD00000001.parquet", 5), ("2026/LOAD00000001.parquet", 6)], [(0, False), (5, True)]),
    ],
)
def test_a_load_begins_where_the_count_begins_anew(
    reload: list[tuple[str, int]], expected: list[tuple[int, bool]]
) -> None:
    assert loads([*files(*reload), *FIRST]) == expected


def test_segments_of_a_parallel_load_are_counted_apart() -> None:
    names = ["SEGMENT1_LOAD00000001.parquet", "SEGMENT2_LOAD00000001.parquet", "p%3Da/LOAD00000001.parquet"]
    first, second = (files(*((name, at) for name in names)) for at in (0, 5))
    assert loads([*first, *second]) == [(0, False), (5, True)]


def test_folders_of_a_parallel_load_are_segments_whatever_they_are_called() -> None:
    """Those that looked like dates were taken for reloads of one another, and all but the last lost their rows."""
    for names in (("year=2025", "year=2026"), ("1", "2"), ("2026/01/04", "2026/01/05")):
        parallel = files(*((f"{name}/LOAD00000001.parquet", n) for n, name in enumerate(names)))
        assert loads(parallel) == [(0, False)]


def test_files_whose_rows_tell_another_order_by_moments_are_one_load() -> None:
    first, second = files(("LOAD00000001.parquet", 1), ("LOAD00000002.parquet", 1))
    early = replace(second, loaded_at=first.loaded_at - timedelta(milliseconds=10))
    assert len(loads([early, first])) == 1


def test_a_load_without_changes_after_it_may_go_on() -> None:
    second = files(("LOAD00000001.parquet", 5))
    assert loads([*FIRST, *second], goes_on=False) == [(0, False), (5, False)]
    assert loads([*FIRST, *files(("LOAD00000001.parquet", 5), ends=True)], goes_on=False) == [(0, False), (5, True)]


def test_a_load_that_is_not_in_silver_is_not_complete() -> None:
    assert loads([*FIRST, *files(("LOAD00000001.parquet", 5), is_whole=False)]) == [(0, False), (5, False)]


def test_a_settled_load_is_complete_without_a_look_at_the_objects_since() -> None:
    """Every step over a table that was ever reloaded looked through all that had landed since."""

    def never(_after: datetime, _before: datetime | None) -> bool:
        raise AssertionError

    (_, second) = full_loads([*FIRST, *files(("LOAD00000001.parquet", 5), is_settled=True)], changes_between=never)
    assert second.is_complete
