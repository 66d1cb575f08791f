"""`python -m benchmarks.live_changes`: how soon a change that is committed in Postgres is in silver.

Starts a Postgres, `datalake simulate --postgres --follow` on it, `datalake replicate`, and `datalake dev` on a fresh
lake. A change is in silver when `silver/orders_history`, which keeps them all, shows its commit time; it is looked at
each second. What was committed before the services were up is left out.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import polars as pl
import psycopg
from deltalake import DeltaTable

from benchmarks.harness import say
from benchmarks.services import LOOK_SECONDS, Services
from datalake_assets_tests.postgres import server

_SETTLE_SECONDS = 90.0
_TARGET_P95 = 60.0
_COMMITTED = "SELECT pg_xact_commit_timestamp(xmin), id FROM orders"


def main() -> None:
    """Watch a live source for some minutes and print how it did; exits with 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_changes", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=600, help="web events an hour, with which the orders grow")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server("track_commit_timestamp = on\n") as url:
        met = _watch(Path(folder), url, minutes=chosen.minutes, rate=chosen.rate)
    sys.exit(0 if met else 1)


def _watch(folder: Path, url: str, *, minutes: float, rate: int) -> bool:
    services = Services(folder)
    history = services.root / "silver" / "orders_history"
    simulate = ("simulate", "--hours", "1", "--rate", str(rate), "--postgres", url, "--follow")
    replicate = ("replicate", "--source", url, "--table", "public.orders", "--table", "public.customers")
    shown: dict[datetime, float] = {}
    with services.command(*simulate):
        time.sleep(5)  # for it to make its tables
        with services.command(*replicate), services.dev():
            while not DeltaTable.is_deltatable(str(history)):
                time.sleep(LOOK_SECONDS)
            began = time.time()
            say(f"watching for {minutes:g} minutes")
            _look(shown, history, until=began + minutes * 60)
            committed = _committed(url, since=began, until=time.time())
            say("waiting for what was committed last")
            _look(shown, history, until=time.time() + _SETTLE_SECONDS)
    return _report(committed, {at for at in shown if at.timestamp() >= began}, shown)


def _look(shown: dict[datetime, float], history: Path, *, until: float) -> None:
    while time.time() < until:
        now = time.time()
        table = pl.scan_delta(str(history)).filter(pl.col("_is_change"))
        for at in table.select(pl.col("_committed_at").unique()).collect().to_series():
            shown.setdefault(at, now)
        time.sleep(LOOK_SECONDS)


def _committed(url: str, *, since: float, until: float) -> set[datetime]:
    """When the newest changes of orders were committed, of those between two moments."""
    with psycopg.connect(url) as connection:
        times = {at.astimezone(UTC) for at, _ in connection.execute(_COMMITTED)}
    return {at for at in times if since <= at.timestamp() <= until}


def _report(committed: set[datetime], seen: set[datetime], shown: dict[datetime, float]) -> bool:
    missing = committed - seen
    delays: Sequence[float] = [shown[at] - at.timestamp() for at in seen]
    p50, p95 = median(delays), quantiles(delays, n=20)[-1]
    say(f"commits: {len(seen)} in silver, {len(missing)} of the {len(committed)} that the source shows missing")
    say(
        f"committed to silver: p50 {p50:.1f} s, p95 {p95:.1f} s (target < {_TARGET_P95:g}), at most {max(delays):.1f} s"
    )
    return p95 < _TARGET_P95 and not missing


if __name__ == "__main__":
    main()
