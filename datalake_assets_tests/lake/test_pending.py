"""What gold owes is remembered whatever became of the runs between, and is never more than what changed."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec
from datalake_assets.lake.spec.tables import PENDING
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.pending import Consumer, Debt, Pending, Version
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

SUNDAY, MONDAY, TUESDAY = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
CLICKS, CUSTOMERS, DAILY = "silver/clicks", "silver/customers", "gold/daily"
NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)


class Shop:
    """A silver table of clicks, one of customers, and gold tables that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pending = Pending(Table(PENDING, str(folder / "pending")))
        self.sources = {
            CLICKS: self._table(CLICKS, by_date=True),
            CUSTOMERS: self._table(CUSTOMERS, by_date=False),
            DAILY: self._table(DAILY, by_date=True),
        }

    def _table(self, name: str, *, by_date: bool) -> Table:
        columns = {"id": TableColumn("int64"), "event_date": TableColumn("date")}
        cut = ("event_date",) if by_date else ()
        spec = TableSpec("silver", name.replace("/", "_"), "A table of a test.", columns, ("id",), cut)
        return Table(spec, str(self.folder / spec.name))

    @property
    def daily(self) -> Consumer:
        """A gold table that is computed date by date."""
        return Consumer("daily", self.sources[DAILY], {CLICKS: EVENT_DATE}, (CUSTOMERS,))

    @property
    def totals(self) -> Consumer:
        """A gold table that is computed whole, from another gold table."""
        return Consumer("totals", self._table("gold/totals", by_date=False), {DAILY: EVENT_DATE}, daily=False)

    def write(
        self, name: str, *days: date, touched: Collection[date] | None = None, committed: Collection[date] = ()
    ) -> Version:
        """Commit a row for each day to a table; returns the version that it has then."""
        rows = pl.DataFrame(
            {"id": range(len(days)), "event_date": list(days)}, schema={"id": pl.Int64, "event_date": pl.Date}
        )
        notes = CommitNotes(days if touched is None else touched, committed=committed)
        self.sources[name].open().change(add=rows, notes=notes)
        return self.version(name)

    def version(self, name: str) -> Version:
        """How far a source is."""
        seen = self.sources[name].open()
        return Version(seen.table_id, seen.version)

    def look(self, consumer: Consumer | None = None) -> Debt:
        """What a gold table owes."""
        one = consumer or self.daily
        return self.pending.look([one], self.sources)[one.name]

    def owed(self) -> set[date | None]:
        """The dates that the daily table owes."""
        return set(self.look().due)

    def compute(self, *days: date, read: Version | None = None) -> None:
        """Compute dates of the daily table from a version of the clicks (as they are now), and settle them."""
        known = read or self.version(CLICKS)
        self.write(DAILY, *days)
        self.pending.settle("daily", days, {CLICKS: known})


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop in which nothing has happened."""
    return Shop(tmp_path)


def test_without_sources_nothing_is_owed_and_nothing_is_written(shop: Shop) -> None:
    assert shop.look() == Debt()
    assert not shop.pending.table.open().exists


def test_gold_owes_the_dates_that_silver_touched(shop: Shop) -> None:
    shop.write(CLICKS, SUNDAY)
    shop.look()
    shop.compute(SUNDAY)
    shop.write(CLICKS, MONDAY, TUESDAY, touched=[MONDAY])
    assert shop.look().due == {MONDAY: {CLICKS}}


def test_what_is_owed_stays_so_until_it_is_computed_however_often_and_late_one_looks(shop: Shop) -> None:
    """Sixty-three days later gold owed nothing: debts were worked out from two months of steps."""
    shop.write(CLICKS, SUNDAY, MONDAY)
    for _ in range(3):
        assert shop.owed() == {SUNDAY, MONDAY}
    shop.compute(SUNDAY)
    assert shop.owed() == {MONDAY}
    shop.compute(MONDAY)
    assert shop.owed() == set()


def test_a_date_touched_again_is_owed_again_however_old(shop: Shop) -> None:
    shop.write(CLICKS, SUNDAY)
    shop.look()
    shop.compute(SUNDAY)
    shop.write(CLICKS, SUNDAY)
    assert shop.owed() == {SUNDAY}


def test_gold_that_read_before_silver_committed_still_owes(shop: Shop) -> None:
    read = shop.write(CLICKS, SUNDAY)
    shop.write(CLICKS, SUNDAY)
    shop.look()
    shop.compute(SUNDAY, read=read)
    assert shop.owed() == {SUNDAY}


def test_gold_that_read_more_than_it_knew_of_is_not_asked_for_what_it_has(shop: Shop) -> None:
    shop.write(CLICKS, SUNDAY)
    shop.look()
    shop.write(CLICKS, TUESDAY)
    shop.compute(SUNDAY, TUESDAY)
    shop.look()
    shop.compute(TUESDAY)
    assert shop.owed() == set()


def test_a_commit_that_touched_nothing_owes_nothing(shop: Shop) -> None:
    shop.write(CLICKS, SUNDAY)
    shop.look()
    shop.compute(SUNDAY)
    shop.write(CLICKS, MONDAY, touched=[])
    DeltaTable(shop.sources[CLICKS].uri).optimize.compact()
    assert shop.owed() == set()


def test_each_gold_table_owes_for_itself(shop: Shop) -> None:
    hourly = Consumer("hourly", shop.sources[DAILY], {CLICKS: EVENT_DATE})
    shop.write(CLICKS, SUNDAY)
    debts = shop.pending.look([shop.daily, hourly], shop.sources)
    assert set(debts["daily"].due) == set(debts["hourly"].due) == {SUNDAY}
    shop.compute(SUNDAY)
    debts = shop.pending.look([shop.daily, hourly], shop.sources)
    assert (set(debts["daily"].due), set(debts["hourly"].due)) == (set(), {SUNDAY})


def settled(shop: Shop) -> Shop:
    """The shop with three days, of which gold owes nothing."""
    shop.write(CLICKS, SUNDAY, MONDAY)
    shop.look()
    shop.compute(SUNDAY, MONDAY, TUESDAY)
    assert shop.owed() == set()
    return shop


def test_a_source_that_is_another_table_owes_all_its_dates_and_those_that_gold_shows(
    shop: Shop, tmp_path: Path
) -> None:
    """Silver was dropped and built again: gold kept the old figures."""
    settled(shop)
    Path(shop.sources[CLICKS].uri).rename(tmp_path / "dropped")
    shop.write(CLICKS, SUNDAY)
    assert shop.owed() == {SUNDAY, MONDAY, TUESDAY}
    shop.compute(SUNDAY, MONDAY, TUESDAY)
    assert shop.owed() == set()


def test_a_source_whose_log_was_cut_short_owes_all_its_dates(shop: Shop) -> None:
    settled(shop)
    for _ in range(12):
        shop.write(CLICKS, MONDAY)
    for version in range(6):
        Path(shop.sources[CLICKS].uri, "_delta_log", f"{version:020}.json").unlink()
    assert shop.owed() == {SUNDAY, MONDAY, TUESDAY}


def test_a_commit_of_somebody_else_may_have_touched_any_date(shop: Shop) -> None:
    settled(shop)
    rows = pl.DataFrame({"id": [9], "event_date": [MONDAY]})
    rows.write_delta(shop.sources[CLICKS].uri, mode="append")
    assert shop.owed() == {SUNDAY, MONDAY, TUESDAY}


def test_a_gold_table_that_is_gone_owes_everything_again(shop: Shop, tmp_path: Path) -> None:
    """A dropped gold table never returned."""
    settled(shop)
    Path(shop.sources[DAILY].uri).rename(tmp_path / "dropped")
    assert shop.owed() == {SUNDAY, MONDAY}


def test_a_gold_table_that_has_not_been_written_yet_owes_what_it_owed(shop: Shop) -> None:
    shop.write(CLICKS, SUNDAY)
    version = shop.pending.table.open().version
    shop.look()
    shop.look()
    shop.write(CLICKS, MONDAY)
    assert shop.owed() == {SUNDAY, MONDAY}
    assert shop.pending.table.open().version <= version + 3


def test_a_look_that_finds_no_news_writes_nothing(shop: Shop) -> None:
    settled(shop)
    before = shop.pending.table.open().version
    shop.look()
    assert shop.pending.table.open().version == before


def test_a_table_that_is_computed_whole_is_due_whenever_its_source_has_a_newer_version(shop: Shop) -> None:
    read = shop.write(DAILY, SUNDAY)
    assert shop.look(shop.totals).due == {None: {DAILY}}
    shop.totals.table.open().change(add=pl.DataFrame({"id": [1], "event_date": [SUNDAY]}))
    shop.pending.settle("totals", [None], {DAILY: read})
    assert shop.look(shop.totals).due == {}
    shop.write(DAILY, MONDAY)
    assert shop.look(shop.totals).due == {None: {DAILY}}
    shop.pending.settle("totals", [None], {DAILY: read})
    assert shop.look(shop.totals).due == {None: {DAILY}}


def with_a_lookup(shop: Shop) -> Version:
    """The settled shop with customers; returns how far these are."""
    shop.write(CUSTOMERS, SUNDAY)
    settled(shop)
    return shop.version(CUSTOMERS)


def test_a_lookup_that_changed_tells_the_version_that_gold_shows(shop: Shop) -> None:
    shown = with_a_lookup(shop)
    assert shop.look().lookups == {}
    for _ in range(2):
        shop.write(CUSTOMERS, SUNDAY, touched=[], committed=[MONDAY])
    debt = shop.look()
    assert (debt.lookups, debt.due) == ({CUSTOMERS: shown}, {})
    shop.write(CUSTOMERS, SUNDAY, touched=[], committed=[MONDAY])
    assert shop.look().lookups == {CUSTOMERS: shown}


def test_a_lookup_whose_files_were_put_together_owes_nothing(shop: Shop) -> None:
    with_a_lookup(shop)
    shop.look()
    shop.write(CUSTOMERS, touched=[])
    assert shop.look() == Debt()


def test_the_dates_that_a_lookup_touches_take_the_place_of_its_change(shop: Shop) -> None:
    with_a_lookup(shop)
    changed = shop.write(CUSTOMERS, SUNDAY)
    shop.look()
    shop.pending.add("daily", [MONDAY], CUSTOMERS, changed)
    debt = shop.look()
    assert (debt.lookups, debt.due) == ({}, {MONDAY: {CUSTOMERS}})
    shop.pending.settle("daily", [MONDAY], {CLICKS: shop.version(CLICKS), CUSTOMERS: changed})
    assert shop.look() == Debt()


def test_a_lookup_that_changed_again_while_its_dates_were_looked_for_is_looked_at_again(shop: Shop) -> None:
    with_a_lookup(shop)
    first = shop.write(CUSTOMERS, SUNDAY)
    shop.look()
    shop.write(CUSTOMERS, SUNDAY)
    shop.look()
    shop.pending.add("daily", [MONDAY], CUSTOMERS, first)
    debt = shop.look()
    assert (debt.lookups, debt.due) == ({CUSTOMERS: first}, {MONDAY: {CUSTOMERS}})


def test_a_lookup_that_is_another_table_owes_all_dates_that_gold_shows(shop: Shop, tmp_path: Path) -> None:
    with_a_lookup(shop)
    Path(shop.sources[CUSTOMERS].uri).rename(tmp_path / "dropped")
    shop.write(CUSTOMERS, SUNDAY)
    debt = shop.look()
    assert set(debt.due) == {SUNDAY, MONDAY, TUESDAY}
    assert debt.lookups == {}


def test_a_date_that_failed_is_put_off_longer_each_time_and_no_other_waits_for_it(shop: Shop) -> None:
    shop.write(CLICKS, SUNDAY, MONDAY)
    shop.look()
    waits = []
    for _ in range(12):
        shop.pending.postpone("daily", {SUNDAY: "a poisoned value"}, now=NOW)
        ((day, (at, reason)),) = shop.look().retries.items()
        assert (day, reason) == (SUNDAY, "a poisoned value")
        waits.append(at - NOW)
    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert waits[-1] == timedelta(hours=6)
    assert shop.owed() == {SUNDAY, MONDAY}
    shop.compute(SUNDAY)
    assert shop.look().retries == {}


def test_a_look_that_others_settle_under_does_not_bring_back_what_they_computed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write(CLICKS, SUNDAY)
    shop.look()
    shop.write(CLICKS, MONDAY)
    replace = Snapshot.replace
    raced: list[bool] = []

    def racing(seen: Snapshot, *args: Any, **kwargs: Any) -> int:
        if not raced:
            raced.append(True)
            shop.compute(SUNDAY)
        return replace(seen, *args, **kwargs)

    monkeypatch.setattr(Snapshot, "replace", racing)
    assert shop.owed() == {MONDAY}
    assert raced


def test_a_lookup_that_appears_concerns_the_dates_that_gold_shows_and_none_of_its_own(shop: Shop) -> None:
    settled(shop)
    shop.write(CUSTOMERS, date(2020, 1, 1))
    assert shop.owed() == {SUNDAY, MONDAY, TUESDAY}
