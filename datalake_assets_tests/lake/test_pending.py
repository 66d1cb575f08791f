"""Gold's debts: how far each source was read, what is due since, and when it is settled."""

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.spec.tables import PENDING, TableColumn, TableSpec, Zone
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.pending import Consumer, Debt, Pending, Version
from datalake_assets.lake.store.table import Table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
CLICKS, VIEWS, CUSTOMERS = "silver/clicks", "silver/views", "silver/customers"


class Debts:
    """A gold table, its sources and what it owes, in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pending = Pending(Table(PENDING, str(root / "pending")))
        self.sources = {name: self.table("silver", name) for name in (CLICKS, VIEWS, CUSTOMERS)}
        self.gold = self.table("gold", "gold/daily")

    def table(self, zone: Zone, path: str) -> Table:
        columns = {"id": TableColumn("string"), "event_date": TableColumn("date")}
        spec = TableSpec(zone, path.rpartition("/")[2], "A test's.", columns, ("id",), ("event_date",))
        return Table(spec, str(self.root / path))

    def commit(self, source: str, *days: date, touched: Sequence[date] | None = None) -> Version:
        """A row for each of some days, in one commit that tells which it touched; returns how far the table is."""
        table = self.gold if source == "gold" else self.sources[source]
        rows = pl.DataFrame({"id": ["a"] * len(days), "event_date": days}, schema=table.dtypes)
        table.open().change(add=rows, notes=CommitNotes(days if touched is None else touched))
        return self.version(source)

    def version(self, source: str) -> Version:
        seen = self.sources.get(source, self.gold).open()
        return Version(seen.table_id, seen.version)

    def look(self, *, daily: bool = True, name: str = "daily") -> Debt:
        consumer = Consumer(name, self.gold, (CLICKS, VIEWS), (CUSTOMERS,), daily=daily)
        return self.pending.look([consumer], self.sources)[name]

    def settle(self, *days: date | None) -> None:
        """Settle from the sources as they are."""
        self.pending.settle("daily", days, {name: self.version(name) for name in self.sources})

    def settled(self) -> "Debts":
        """Gold is there, has a row of March, and owes nothing."""
        self.commit(CLICKS, MARCH)
        self.commit("gold", MARCH)
        self.settle(*self.look().due)
        assert self.look() == Debt()
        return self


@pytest.fixture
def debts(tmp_path: Path) -> Debts:
    """Tables of which none is there yet."""
    return Debts(tmp_path)


def test_of_sources_that_are_not_there_nothing_is_due(debts: Debts) -> None:
    assert debts.look() == Debt()
    assert not debts.pending.table.open().exists


def test_the_dates_that_commits_touched_are_due_by_source(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS, APRIL)
    debts.commit(CLICKS, touched=[MAY])
    debts.commit(VIEWS, APRIL)
    assert debts.look().due == {APRIL: {CLICKS, VIEWS}, MAY: {CLICKS}, MARCH: {VIEWS}}  # views are new: all dates


def test_a_look_at_what_did_not_move_makes_no_commit(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS, APRIL)
    debts.look()
    version = debts.pending.table.open().version
    assert debts.look().due == {APRIL: {CLICKS}}
    assert debts.pending.table.open().version == version


def test_a_commit_that_touched_nothing_moves_the_watermark_alone(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS)
    assert debts.look() == Debt()


def test_each_gold_table_has_debts_of_its_own(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS, APRIL)
    assert debts.look(name="other").due == {MARCH: {CLICKS}, APRIL: {CLICKS}}
    debts.pending.settle("other", [APRIL], {CLICKS: debts.version(CLICKS)})
    assert debts.look().due == {APRIL: {CLICKS}}


def test_a_table_computed_whole_owes_itself(debts: Debts) -> None:
    debts.commit(CLICKS, MARCH, APRIL)
    assert debts.look(daily=False).due == {None: {CLICKS}}
    debts.commit("gold", MARCH)
    debts.settle(None)
    assert debts.look(daily=False) == Debt()


# --- settling


def test_a_date_is_settled_by_the_version_that_made_it_due_or_a_later_one(debts: Debts) -> None:
    before = debts.settled().version(CLICKS)
    debts.commit(CLICKS, APRIL)
    debts.look()
    debts.pending.settle("daily", [APRIL], {CLICKS: before})
    assert debts.look().due == {APRIL: {CLICKS}}
    debts.commit(CLICKS, touched=[MAY])
    debts.pending.settle("daily", [APRIL], {CLICKS: debts.version(CLICKS)})
    assert debts.look().due == {MAY: {CLICKS}}


def test_a_date_that_is_touched_again_while_it_is_computed_stays_due(debts: Debts) -> None:
    read = debts.settled().commit(CLICKS, APRIL)
    debts.look()
    debts.commit(CLICKS, touched=[APRIL])
    debts.look()
    debts.pending.settle("daily", [APRIL], {CLICKS: read})
    assert debts.look().due == {APRIL: {CLICKS}}


def test_a_date_is_settled_by_the_table_that_made_it_due_and_for_the_sources_that_were_read(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS, APRIL)
    debts.commit(VIEWS, APRIL)
    debts.look()
    debts.pending.settle("daily", [APRIL], {CLICKS: Version("another", 99), VIEWS: debts.version(VIEWS)})
    assert debts.look().due[APRIL] == {CLICKS}


def test_settling_what_is_not_due_makes_no_commit(debts: Debts) -> None:
    version = debts.settled().pending.table.open().version
    debts.settle(MAY, None)
    assert debts.pending.table.open().version == version


# --- all dates


def test_all_dates_are_due_after_the_source_was_made_anew(debts: Debts) -> None:
    debts.settled()
    shutil.rmtree(debts.sources[CLICKS].uri)
    debts.commit(CLICKS, APRIL)
    assert debts.look().due == {MARCH: {CLICKS}, APRIL: {CLICKS}}  # gold shows March, which is gone
    debts.settle(MARCH, APRIL)
    assert debts.look() == Debt()


def test_what_was_due_of_a_table_that_is_gone_is_due_of_its_successor(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS, MAY)
    debts.look()
    shutil.rmtree(debts.sources[CLICKS].uri)
    debts.commit(CLICKS, APRIL)
    assert debts.look().due.keys() == {MARCH, APRIL, MAY}
    debts.settle(MARCH, APRIL, MAY)
    assert debts.look() == Debt()


def test_all_dates_are_due_where_the_log_does_not_reach_back(debts: Debts) -> None:
    debts.settled()
    for _ in range(3):
        debts.commit(CLICKS, APRIL)
    table = debts.sources[CLICKS]
    DeltaTable(table.uri).create_checkpoint()
    for version in range(3):
        Path(table.uri, "_delta_log", f"{version:020}.json").unlink()
    assert debts.look().due == {MARCH: {CLICKS}, APRIL: {CLICKS}}


def test_all_dates_are_due_while_the_gold_table_is_not_there(debts: Debts) -> None:
    debts.settled()
    debts.commit(CLICKS, APRIL)
    debts.settle(*debts.look().due)
    shutil.rmtree(debts.gold.uri)
    assert debts.look().due == {MARCH: {CLICKS}, APRIL: {CLICKS}}


# --- lookups


def test_a_lookup_that_changed_tells_what_gold_shows_of_it(debts: Debts) -> None:
    debts.settled()
    first = debts.commit(CUSTOMERS, MARCH)
    debts.settle(*debts.look().due)
    assert debts.look() == Debt()
    debts.commit(CUSTOMERS, MAY)
    debts.look()
    debts.commit(CUSTOMERS, MAY)
    assert debts.look() == Debt(lookups={CUSTOMERS: first})  # its dates are not gold's


def test_the_dates_of_a_changed_lookup_take_its_place(debts: Debts) -> None:
    debts.settled()
    debts.commit(CUSTOMERS, MARCH)
    debts.settle(*debts.look().due)
    now = debts.commit(CUSTOMERS, MARCH)
    debts.look()
    debts.pending.add("daily", [APRIL], CUSTOMERS, now)
    assert debts.look() == Debt(due={APRIL: {CUSTOMERS}})
    debts.settle(APRIL)
    assert debts.look() == Debt()


def test_a_lookup_that_changed_again_meanwhile_stays_from_where_it_was_read(debts: Debts) -> None:
    debts.settled()
    debts.commit(CUSTOMERS, MARCH)
    debts.settle(*debts.look().due)
    read = debts.commit(CUSTOMERS, MARCH)
    debts.look()
    debts.commit(CUSTOMERS, MARCH)
    debts.look()
    debts.pending.add("daily", [APRIL], CUSTOMERS, read)
    assert debts.look() == Debt(due={APRIL: {CUSTOMERS}}, lookups={CUSTOMERS: read})


# --- retries


def test_what_failed_is_tried_again_after_a_pause_that_doubles_up_to_six_hours(debts: Debts) -> None:
    debts.settled()
    for minutes in (1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360):
        debts.pending.postpone("daily", {MARCH: "no memory"}, now=NOW)
        assert debts.look().retries == {MARCH: (NOW + timedelta(minutes=minutes), "no memory")}
    debts.pending.postpone("daily", {None: "no lookup"}, now=NOW)
    assert debts.look().retries[None] == (NOW + timedelta(minutes=1), "no lookup")
    debts.settle(MARCH)
    assert debts.look().retries.keys() == {None}
    debts.pending.postpone("daily", {MARCH: "again"}, now=NOW)
    assert debts.look().retries[MARCH] == (NOW + timedelta(minutes=1), "again")
