"""From work to runs: what is asked for together, what is left out while it is under way, and what waits."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status

from datalake_assets.assets.beginnings import Beginnings
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import GoldWork, LandingWork
from datalake_assets.sensors.requests import PlannedRun, Todo, gold_todos, landing_todos, planned_runs
from datalake_assets.sensors.under_way import CUT_TAG, KnownRun, UnderWay, under_way
from datalake_assets.settings import Settings
from datalake_assets_tests.sources import CLICKS, write_datasets

_NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
_MOST = 168
_BEGINS = Beginnings(landing=date(2026, 1, 1), dates=date(2015, 1, 1), months=date(2015, 1, 1))
_HOURS = [f"2026-01-01-{hour:02}:00" for hour in range(24)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    texts = [CLICKS.replace("clicks", name) for name in ("clicks", "visits")]
    folder = write_datasets(tmp_path / "datasets", *texts)
    return Settings(root=str(tmp_path / "lake"), datasets=folder).lake()


def _waiting(lake: Lake, **hours: Iterable[int]) -> list[Todo]:
    work = {name: LandingWork({_HOURS[h]: 1 for h in found}) for name, found in hours.items()}
    return landing_todos(lake, work, _BEGINS)


def _runs(todos: list[Todo], *known: KnownRun, now: datetime = _NOW) -> list[str]:
    state = UnderWay(tuple(known), now, _MOST)
    return [run.title for run in planned_runs(todos, limit=state.limit, most=_MOST)]


def _run_of(lake: Lake, *names: str, first: int, last: int, **more: object) -> KnownRun:
    assets = frozenset(key for todo in _waiting(lake, **{name: [0] for name in names}) for key in todo.assets)
    return KnownRun(assets=assets, first=_HOURS[first], last=_HOURS[last], **more)  # type: ignore[arg-type] # any field


def test_datasets_with_the_same_hours_to_do_share_a_run(lake: Lake) -> None:
    """Each dataset had a run of its own, of 3 seconds of start-up each."""
    assert _runs(_waiting(lake, clicks=[0, 1, 2], visits=[0, 1, 2])) == [
        "silver of clicks, visits 2026-01-01-00:00 to 2026-01-01-02:00"
    ]
    assert _runs(_waiting(lake, clicks=[0, 1, 9], visits=[9])) == [
        "silver of clicks, visits 2026-01-01-09:00",
        "silver of clicks 2026-01-01-00:00 to 2026-01-01-01:00",
    ]


def test_hours_in_which_nothing_landed_lie_within_a_run(lake: Lake) -> None:
    """A table that changes every other hour had a run for each change: 61 of them for 60 objects."""
    assert _runs(_waiting(lake, clicks=range(0, 24, 2))) == ["silver of clicks 2026-01-01-00:00 to 2026-01-01-22:00"]
    assert len(_runs(_waiting(lake, clicks=[0, 8]))) == 2
    todos = _waiting(lake, clicks=[0, 2, 4])
    ranges = [run.partitions for run in planned_runs(todos, limit=lambda *_: 2, most=_MOST)]
    assert sorted(ranges) == [(_HOURS[0],), (_HOURS[2],), (_HOURS[4],)], "what failed lately takes no neighbour along"


def test_gold_tables_with_the_same_dates_share_a_run_and_totals_join_it(lake: Lake) -> None:
    days = GoldWork(dates=frozenset({date(2026, 1, 1), date(2026, 1, 2), date(1970, 1, 1), date(2090, 1, 1)}))
    work = {"daily_summary": days, "hourly_metrics": days}
    todos = gold_todos(lake, work, _BEGINS, today=_NOW.date())
    assert _runs(todos) == [
        "gold of daily_summary, hourly_metrics, source_statistics 2026-01-01 to 2026-01-02",
        "gold of daily_summary, hourly_metrics 2015-01-01",
    ]
    only_totals = gold_todos(lake, {"source_statistics": GoldWork(whole=True)}, _BEGINS, today=_NOW.date())
    assert _runs(only_totals) == ["gold of source_statistics"]


def test_work_under_way_is_not_asked_for_again_whatever_else_landed(lake: Lake) -> None:
    """A request was named by its objects: each landing in an hour queued another run for it, 18 of them at once."""
    todos = _waiting(lake, clicks=[0, 1, 2], visits=[1])
    assert _runs(todos, _run_of(lake, "clicks", first=0, last=1)) == [
        "silver of clicks 2026-01-01-02:00",
        "silver of visits 2026-01-01-01:00",
    ]
    everything = KnownRun(assets=None, first=_HOURS[0], last=_HOURS[5])
    assert _runs(todos, everything) == []


def test_a_run_that_failed_is_asked_for_later_by_itself_and_in_halves(lake: Lake) -> None:
    todos = _waiting(lake, clicks=list(range(8)), visits=list(range(8)))
    failed = _run_of(lake, "clicks", "visits", first=0, last=7, ended=_NOW, done=frozenset({"silver_visits"}))
    alone = ["silver of visits 2026-01-01-00:00 to 2026-01-01-07:00"]
    assert _runs(todos, failed, now=_NOW + timedelta(seconds=50)) == alone
    assert set(_runs(todos, failed, now=_NOW + timedelta(seconds=70))) == {
        *alone,
        "silver of clicks 2026-01-01-00:00 to 2026-01-01-03:00",
        "silver of clicks 2026-01-01-04:00 to 2026-01-01-07:00",
    }


def test_waits_after_failures_grow_and_end(lake: Lake) -> None:
    (todo,) = _waiting(lake, clicks=[0])
    failed = _run_of(lake, "clicks", first=0, last=0, ended=_NOW)
    for failures, minutes in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (40, 30)]:
        known = (failed,) * failures
        early, due = (_NOW + timedelta(minutes=minutes, seconds=s) for s in (-1, 1))
        assert UnderWay(known, early, _MOST).limit(todo, _HOURS[0]) == 0
        assert UnderWay(known, due, _MOST).limit(todo, _HOURS[0]) == 1


def test_a_request_tells_what_it_is_for_and_lets_people_go_first(lake: Lake) -> None:
    (run,) = planned_runs(_waiting(lake, clicks=[0], visits=[0]), limit=lambda *_: _MOST, most=_MOST)
    request = run.request(reason="objects landed")
    assert request.tags["datalake/dataset"] == "clicks, visits"
    assert request.tags["datalake/reason"] == "objects landed"
    assert request.tags["dagster/priority"] == "-1"
    assert request.job_name == "landed_hourly"
    assert request.run_key is None, "what is asked for is judged by the runs there are, not by a name"


@pytest.fixture
def failing(lake: Lake) -> PlannedRun:
    (run,) = planned_runs(_waiting(lake, clicks=[0]), limit=lambda *_: _MOST, most=_MOST)
    return run


def _add(instance: dg.DagsterInstance, run: PlannedRun, status: Status, **tags: str) -> None:
    told = run.tags(reason="objects landed") | tags
    instance.add_run(dg.DagsterRun("landed_hourly", asset_selection=frozenset(run.assets), tags=told, status=status))


def test_runs_are_known_by_their_records(instance: dg.DagsterInstance, failing: PlannedRun) -> None:
    (todo,), hour = failing.todos, _HOURS[0]

    def limit(*, later: timedelta = timedelta()) -> int:
        return under_way(instance, now=datetime.now(UTC) + later, most=_MOST).limit(todo, hour)

    assert limit() == _MOST
    _add(instance, failing, Status.FAILURE, **{CUT_TAG: "its process was killed"})
    assert limit() == _MOST, "a run that was cut is asked for again at once"
    _add(instance, failing, Status.FAILURE)
    assert limit() == 0
    assert limit(later=timedelta(minutes=2)) == 1
    _add(instance, failing, Status.STARTED)
    assert limit(later=timedelta(minutes=2)) == 0


def test_only_a_few_runs_of_one_sensor_wait(instance: dg.DagsterInstance, failing: PlannedRun) -> None:
    """63 runs waited at once beside a live feed."""
    for status in (Status.NOT_STARTED, Status.NOT_STARTED, Status.STARTED):
        _add(instance, failing, status, **{"dagster/sensor_name": "landing"})
    known = under_way(instance, now=datetime.now(UTC), most=_MOST)
    assert known.room("landing") == 0
    assert known.room("gold_refresh") == 3
