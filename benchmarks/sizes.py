"""One silver step by Polars in process and by Spark on the same two cores, as its input grows: where they cross.

The input is landed JSON text of 10 MB, 100 MB, 1 GB and 5 GB. Each side begins with an empty lake in a new process;
Spark's seconds include its session, as a run's do. Writes `docs/engines.svg`, and the figures beside it as CSV, from
which `docs/scaling.md` works out when another machine pays.
"""

import gzip
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import altair as alt
import polars as pl

from benchmarks import events
from benchmarks.harness import Options, Result, Sample, alone, cost, say
from benchmarks.lakes import emptied, kept
from datalake_assets.lake.engines.polars import PolarsEngine

_SIZES = (10, 100, 1_000, 5_000)  # MB of text
_DOCS = Path(__file__).parents[1] / "docs"
_ENOUGH = 100  # a size in MB above which one round will do
_IDENTITY = b'"event_id":"'


def run(options: Options) -> Iterator[Result]:
    """Compare both engines at each size, and draw them."""
    sizes = (1, 3) if options.quick else _SIZES
    source = kept(options.folder / "events-10x60000", make=partial(events.land, events.simulation(hours=10)))
    out = options.folder / "events-out"
    found: list[dict[str, object]] = []
    by_size: dict[int, dict[str, Sample]] = {}
    for size in sizes:
        bronze = kept(options.folder / f"sizes-{size}", make=partial(_land, source, megabytes=size))
        rounds = options.rounds if size <= _ENOUGH else 1
        for engine, job in {"polars": in_process, "spark": on_spark}.items():
            samples = [alone(job, bronze, emptied(out)) for _ in range(rounds)]
            middle = sorted(samples, key=lambda sample: sample.seconds)[len(samples) // 2]
            by_size.setdefault(size, {})[engine] = middle
            say(f"  {size:,} MB, {engine}: {middle.seconds:.1f} s, CPU {middle.cpu_seconds:.1f} s")
            found.append({"megabytes": size, "engine": engine, "seconds": middle.seconds, "peak_mb": middle.peak_mb})
    if not options.quick:
        _draw(pl.DataFrame(found))
    for size, sides in by_size.items():
        yield cost(
            f"silver step over {size:,} MB by Polars / by Spark", ours=sides["polars"], peer=sides["spark"], target=1
        )


def in_process(bronze: Path, out: Path) -> float:
    """The step by Polars."""
    return events.to_silver(bronze, out, engine=PolarsEngine())


def on_spark(bronze: Path, out: Path) -> float:
    """The step by Spark on this machine, its session included."""
    from datalake_assets.lake.engines.spark import SparkEngine
    from datalake_assets.lake.engines.spark_session import SPARK_LOCAL, spark_session

    began = time.perf_counter()
    session = spark_session(SPARK_LOCAL | {"spark.master": "local[2]"})
    session.sparkContext.setLogLevel("ERROR")
    started = time.perf_counter() - began
    seconds = events.to_silver(bronze, out, engine=SparkEngine(session))
    session.stop()
    return started + seconds


def _land(source: Path, folder: Path, *, megabytes: int) -> None:
    """Land the objects of a lake as text, once more under other ids until there is enough of it."""
    left, copy = megabytes * 1_000_000, 0
    objects = sorted(file for file in source.rglob("*") if file.suffix == ".gz")
    while left > 0:
        for file in objects:
            text = gzip.decompress(file.read_bytes()).replace(_IDENTITY, _IDENTITY + b"%d-" % copy)[:left]
            landed = folder / file.relative_to(source).with_name(f"{file.stem}-{copy}.json")
            landed.parent.mkdir(parents=True, exist_ok=True)
            landed.write_bytes(text)
            left -= len(text)
            if left <= 0:
                return
        copy += 1


def _draw(figures: pl.DataFrame) -> None:
    _DOCS.mkdir(exist_ok=True)
    figures.write_csv(_DOCS / "engines.csv", float_precision=2)
    base = alt.Chart(figures, title="One silver step over landed events, two cores").encode(
        x=alt.X("megabytes:Q", scale=alt.Scale(type="log"), title="landed JSON text, MB"),
        y=alt.Y("seconds:Q", scale=alt.Scale(type="log"), title="seconds"),
        color=alt.Color("engine:N", title="engine"),
    )
    chart = base.mark_line(point=True) + base.mark_text(dy=-10).encode(text=alt.Text("seconds:Q", format=".1f"))
    chart.properties(width=520, height=320).save(_DOCS / "engines.svg")
