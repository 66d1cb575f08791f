"""`python -m benchmarks [NAME ...]`: run all benchmarks, or those named."""

import argparse
import os
from pathlib import Path

from benchmarks import backfill, dirty, events, layout, merge, overhead, sizes, tick
from benchmarks.harness import Options, Result, report, say

_BENCHMARKS = {
    "events": events.run,
    "dirty": dirty.run,
    "merge": merge.run,
    "layout": layout.run,
    "tick": tick.run,
    "backfill": backfill.run,
    "overhead": overhead.run,
    "sizes": sizes.run,
}
_HERE = Path(__file__).parent


def main() -> None:
    """Run benchmarks, print a table, and write the results as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(_BENCHMARKS)}; default all"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run on little input; its figures mean nothing")
    parser.add_argument("--rounds", type=int, help="how often each side runs (default 5; 1 with --quick)")
    parser.add_argument("--folder", type=Path, default=_HERE.parent / ".bench", help="where input is made and kept")
    parser.add_argument(
        "--results", type=Path, help="JSON file of results (default benchmarks/results.json; none with --quick)"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.names) - _BENCHMARKS.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(_BENCHMARKS)}")
    os.environ["POLARS_MAX_THREADS"] = os.environ.get("POLARS_MAX_THREADS", "2")
    options = Options(
        folder=chosen.folder.absolute(), quick=chosen.quick, rounds=chosen.rounds or (1 if chosen.quick else 5)
    )
    results: list[Result] = []
    for name in chosen.names or _BENCHMARKS:
        say(f"[bold]{name}[/]")
        results.extend(_BENCHMARKS[name](options))
    report(results, file=chosen.results or (None if chosen.quick else _HERE / "results.json"))


if __name__ == "__main__":
    main()
